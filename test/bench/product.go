package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// interval is short, so that a few seconds show many ticks.
const interval = 250 * time.Millisecond

// A product is a running scaph-host or scaph-guest.
type product struct {
	name    string // for people
	state   string // directory that gets a new state at each tick
	metrics string // URL
	cmd     *exec.Cmd
	logged  chan struct{} // closed at the end of its log
}

// configOf is the service with all that it does by default: tree, state, endpoint. Libvirt alone is left out: the
// stand-ins are unknown to it.
func configOf(dir, run, powercap, source string) string {
	return fmt.Sprintf(`
interval: %v
sensor: {powercap: %s}
cputime: {source: %s}
state: {run: %s, lib: %s}
web: {listen: ["127.0.0.1:0"]}
log: {format: json}
`, interval, powercap, source, run, filepath.Join(dir, "lib"))
}

// startHost starts scaph-host with one source of CPU time, in a directory of its own below dir.
func startHost(ctx context.Context, dirs *dirs, powercap, source string) (*product, error) {
	extra := fmt.Sprintf("libvirt: {enabled: false}\ntree: {enabled: true, path: %s}\n", filepath.Join(dirs.disk, source, "tree"))
	return startProduct(ctx, "bin/scaph-host", source, dirs, powercap, source, extra)
}

// startGuest starts scaph-guest as it is in a virtual machine: without machines and tree.
func startGuest(ctx context.Context, dirs *dirs, powercap string) (*product, error) {
	return startProduct(ctx, "bin/scaph-guest", "guest", dirs, powercap, "auto", "")
}

func startProduct(ctx context.Context, binary, name string, dirs *dirs, powercap, source, extra string) (_ *product, err error) {
	dir := filepath.Join(dirs.disk, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	run, err := dirs.run(name)
	if err != nil {
		return nil, err
	}
	program, err := install(binary, dir)
	if err != nil {
		return nil, err
	}
	config := configOf(dir, run, powercap, source) + extra
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p := &product{name: name, state: run, logged: make(chan struct{}), cmd: exec.Command(program, "run", "--config", path)}
	// An interrupt at the terminal is for this program alone; but if it dies, so does the product. (That is told at
	// the end of the thread which started it: main is locked to one.)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	log, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	address := make(chan string, 1)
	go p.read(log, address)
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	select {
	case p.metrics = <-address:
		return p, nil
	case <-p.logged:
		return nil, fmt.Errorf("%s ended at once; its log is above", name)
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for %s to serve metrics: %w", name, ctx.Err())
	}
}

// install copies a program by install(1), as an installation does. What the linker has just written, through a mapping,
// lies in pages of 2 MiB, of which this kernel maps the whole at the first touch of any part.
func install(binary, dir string) (string, error) {
	program := filepath.Join(dir, filepath.Base(binary))
	if out, err := exec.Command("install", "-m", "755", binary, program).CombinedOutput(); err != nil {
		return "", fmt.Errorf("install %s: %w: %s; run make build", binary, err, out)
	}
	return program, nil
}

func (p *product) cpuTime() (time.Duration, error) { return cpuTime(p.cmd.Process.Pid) }

// read follows the log: it gives the URL of the metrics, and shows what is not mere information.
func (p *product) read(log io.Reader, address chan<- string) {
	defer close(p.logged)
	for lines := bufio.NewScanner(log); lines.Scan(); {
		var line struct{ Level, Msg, Address, Path string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Level != "INFO" {
			fmt.Fprintf(os.Stderr, "%s: %s\n", p.name, lines.Text())
		}
		if line.Msg == "serving HTTP" {
			address <- "http://" + line.Address + line.Path
		}
	}
}

// stop ends it as a service manager does.
func (p *product) stop() error {
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	deadline := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer deadline.Stop()
	<-p.logged
	err = errors.Join(err, p.cmd.Wait())
	if err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	return nil
}

// A size is resident memory in MB (10^6 bytes).
type size struct {
	all       float64 // VmRSS
	anonymous float64 // RssAnon: without the pages of files, which others may share
}

// memory gives the resident memory from /proc/PID/status, proc_pid_status(5).
func (p *product) memory() (size, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return size{}, err
	}
	var s size
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		to := map[string]*float64{"VmRSS": &s.all, "RssAnon": &s.anonymous}[name]
		if to == nil {
			continue
		}
		kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		if err != nil {
			return s, fmt.Errorf("%s of process %d: %w", name, p.cmd.Process.Pid, err)
		}
		*to = kib * 1024 / 1e6
	}
	return s, nil
}
