package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/scaph/scaph/test/metrics"
	"github.com/scaph/scaph/test/wait"
)

// A meter is a program that meters a machine and serves what it found to Prometheus: the product, a mutant of it, or
// the oracle. It is known by its command line and by its log line "serving HTTP" alone.
type meter struct {
	name string
	path string
	// args gives its arguments for a run in dir, where the machine is mounted at dir/machine.
	args func(dir string) []string
}

// startTimeout bounds how long a meter may take to show its first measurement, on a busy machine.
const startTimeout = 30 * time.Second

// hostArgs are scaph-host's. The state is kept in dir, so that a second start goes on from the first.
func hostArgs(dir string) []string {
	return []string{"run", "--config", filepath.Join(dir, "host.yaml"), "--log-format", "json"}
}

func guestArgs(dir string) []string {
	return []string{"run", "--config", filepath.Join(dir, "guest.yaml"), "--log-format", "json"}
}

func oracleArgs(dir string) []string { return []string{filepath.Join(dir, "machine")} }

// writeConfigs writes the configurations of both programs. The interval is the shortest that there is: one tick
// is one step of the machine, whatever the clock says.
func writeConfigs(dir string) error {
	common := fmt.Sprintf("interval: 100ms\nhost: {procfs: %[1]s/machine/proc, sysfs: %[1]s/machine/sys}\n"+
		"cputime: {source: procfs}\nstate: {run: %[1]s/run, lib: %[1]s/lib}\nweb: {listen: [\"127.0.0.1:0\"]}\n", dir)
	host := common + fmt.Sprintf("libvirt: {enabled: false}\n"+
		"tree: {enabled: true, path: %s/tree, publish: {interval: 100ms, quantum: 1uJ}}\n", dir)
	guest := common + fmt.Sprintf("sensor: {powercap: %s/machine/sys/class/powercap}\n", dir)
	if err := os.WriteFile(filepath.Join(dir, "host.yaml"), []byte(host), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "guest.yaml"), []byte(guest), 0o600)
}

// A running meter.
type running struct {
	cmd     *exec.Cmd
	client  *http.Client
	address string
	done    chan struct{} // closed when it has ended
	err     error         // why; valid then
}

// start runs the meter and waits until it serves something. Its log goes to dir/log.
func (m meter) start(ctx context.Context, dir string) (*running, error) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	r := &running{client: &http.Client{Timeout: 10 * time.Second}, done: make(chan struct{})}
	r.cmd = exec.Command(m.path, m.args(dir)...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := r.cmd.StderrPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		_ = log.Close()
		return nil, err
	}
	address := make(chan string, 1)
	go func() {
		defer log.Close()
		copyLog(log, stderr, address)
		r.err = r.cmd.Wait()
		close(r.done)
	}()
	select {
	case r.address = <-address:
		if err = r.ready(ctx); err == nil {
			return r, nil
		}
	case <-r.done:
		return nil, fmt.Errorf("%s ended before it served (%w); its log is %s", m.name, r.err, log.Name())
	case <-time.After(startTimeout):
		err = fmt.Errorf("%s does not serve after %v; its log is %s", m.name, startTimeout, log.Name())
	case <-ctx.Done():
		err = ctx.Err()
	}
	r.kill()
	return nil, err
}

// copyLog copies the log and picks the address out of it.
func copyLog(to io.Writer, from io.Reader, address chan<- string) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for found := false; lines.Scan(); {
		_, _ = fmt.Fprintln(to, lines.Text()) // the log is for people who look into a failure
		var event struct{ Msg, Address string }
		if !found && json.Unmarshal(lines.Bytes(), &event) == nil && event.Msg == "serving HTTP" {
			found = true
			address <- event.Address
		}
	}
}

// kill ends it with SIGKILL and waits. It may have ended before.
func (r *running) kill() {
	_ = r.cmd.Process.Kill()
	<-r.done
}

// ready waits for the first measurement.
func (r *running) ready(ctx context.Context) (err error) {
	wait.For(ctx, startTimeout, func() bool {
		_, err = r.scrape(ctx)
		return !errors.Is(err, metrics.ErrNotYet)
	})
	return err
}

// scrape gets its metrics.
func (r *running) scrape(ctx context.Context) (string, error) {
	return metrics.Text(ctx, r.client, "http://"+r.address+"/metrics")
}
