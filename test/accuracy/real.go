package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/scaph/scaph/test/accuracy/judge"
)

// The real part: real processes on this machine and its real procfs, with one simulated package of RAPL. What the
// load's own clocks say is the truth.

// A standIn is a process that looks like a virtual machine, or a storm that does not.
type standIn struct {
	uuid string
	cmd  *exec.Cmd
	in   io.Writer
	out  *json.Decoder
}

// clocks is what a load says of itself; see its documentation.
type clocks struct {
	Process  float64   `json:"process"`
	Threads  []float64 `json:"threads"`
	Children float64   `json:"children"`
	Count    int       `json:"count"`
}

// startLoad starts a load with arguments and environment. It ends when ctx does.
func startLoad(ctx context.Context, path, uuid string, args []string, env ...string) (*standIn, error) {
	l := &standIn{uuid: uuid, cmd: exec.CommandContext(ctx, path, args...)}
	l.cmd.Env, l.cmd.Stderr = append(os.Environ(), env...), os.Stderr
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := l.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.in, l.out = in, json.NewDecoder(out)
	return l, l.cmd.Start()
}

func (l *standIn) work() error {
	_, err := io.WriteString(l.in, "go\n")
	return err
}

// rest stops it and gives its clocks.
func (l *standIn) rest() (c clocks, err error) {
	if _, err = io.WriteString(l.in, "stop\n"); err == nil {
		err = l.out.Decode(&c)
	}
	return c, err
}

// busy is the CPU time that the machine has worked since boot, in s: the first line of /proc/stat without idle and iowait.
func busy() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var ticks float64
	for i, field := range strings.Fields(line)[1:] {
		if n, err := strconv.ParseFloat(field, 64); err == nil && i != 3 && i != 4 && i < 7 {
			ticks += n
		}
	}
	return ticks / 100, nil
}

// A rapl is the simulated RAPL of this machine, a program of its own.
type rapl struct {
	cmd     *exec.Cmd
	control string
}

// startRAPL mounts the tree on dir, frozen.
func startRAPL(ctx context.Context, path, dir string) (*rapl, error) {
	r := &rapl{cmd: exec.CommandContext(ctx, path, "-mount", dir, "-frozen")}
	r.cmd.Cancel = func() error { return r.cmd.Process.Signal(syscall.SIGTERM) } // it unmounts
	r.cmd.Stderr = os.Stderr
	out, err := r.cmd.StdoutPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the simulated RAPL does not start: %w", err)
	}
	r.control = "http://" + strings.TrimSpace(line)
	return r, nil
}

func (r *rapl) freeze(ctx context.Context) error { return post(ctx, r.control+"/freeze") }
func (r *rapl) resume(ctx context.Context) error { return post(ctx, r.control+"/resume") }

// zones gives the truth in µJ by powercap id.
func (r *rapl) zones(ctx context.Context) (map[string]int64, error) {
	text, err := get(ctx, r.control+"/truth")
	if err != nil {
		return nil, err
	}
	var truth map[string]struct{ Energy int64 }
	if err := json.Unmarshal([]byte(text), &truth); err != nil {
		return nil, err
	}
	zones := make(map[string]int64, len(truth))
	for id, t := range truth {
		zones[id] = t.Energy
	}
	return zones, nil
}

// A realRun is one source of CPU time on this machine.
type realRun struct {
	source  string // bpf, procfs
	verdict judge.RealVerdict
	storm   float64 // s of CPU time in processes of 20 ms
	count   int     // of them
	worked  time.Duration
}

// attributed is the part of the CPU time of processes which ended that was charged to them: the storm's, and those of
// whatever else goes on on the machine. What is unseen is all taken as theirs, so it is a lower bound.
func (r realRun) attributed() float64 {
	return r.verdict.Ended / (r.verdict.Ended + r.verdict.Unseen)
}

// chance is what may be unseen without being so, in s: the kernel counts busy time by looking at each CPU at each of its
// ticks, which errs by half a tick a look. Three standard deviations, for a kernel of 250 ticks a second.
func (r realRun) chance() float64 {
	const tick = 0.004
	return 3 * tick / 2 * math.Sqrt(r.worked.Seconds()/tick*float64(runtime.NumCPU()))
}

// broken lists what must not be, in words.
func (r realRun) broken() []string {
	var broken []string
	check := func(ok bool, format string, args ...any) {
		if !ok {
			broken = append(broken, fmt.Sprintf("real processes, "+r.source+": "+format, args...))
		}
	}
	v := r.verdict
	machines, share := 0.01, 0.03
	if r.source == "bpf" {
		least := 0.99
		if r.worked < time.Minute {
			least = 0.97 // the price of a second is not known any better
		}
		check(v.Ended >= least*r.storm, "%.2f s were charged to processes that ended, of a storm of %.2f s", v.Ended, r.storm)
		check(v.Unseen <= 0.01*v.Ended+r.chance(), "%.2f s are unseen, beside %.2f s of processes that ended", v.Unseen, v.Ended)
	} else {
		machines, share = 0.05, 0.10 // a clock tick is a large part of what a small machine uses in a tick of the meter
		// The same error of the kernel's counting as above, in the other direction.
		check(v.Unseen+r.chance() >= 0.9*r.storm, "%.2f s are unseen, of a storm of %.2f s", v.Unseen, r.storm)
	}
	check(v.Conservation == 0 && v.Ledger == 0, "energy is wrong by %d µJ, the ledger by %v J", v.Conservation, v.Ledger)
	check(judge.Quantile(v.VMCPU, 1) <= machines, "a machine's CPU time is wrong by %.2f %%", 100*judge.Quantile(v.VMCPU, 1))
	check(judge.Quantile(v.Share, 1) <= share, "a machine's energy is wrong by %.2f %% of the machines' mean", 100*judge.Quantile(v.Share, 1))
	check(math.Abs(v.Price) <= 0.1, "the machines pay %+.1f %% for a second of CPU time beside the whole machine's price", 100*v.Price)
	return broken
}

// writeRealConfig is for the machine as it is, with the simulated RAPL.
func writeRealConfig(dir, source string) error {
	text := fmt.Sprintf("interval: 250ms\nsensor: {powercap: %[1]s/rapl}\ncputime: {source: %[2]s}\n"+
		"state: {run: %[1]s/run, lib: %[1]s/lib}\nweb: {listen: [\"127.0.0.1:0\"]}\nprometheus: {scrape_interval: 1s}\nprocesses: {top: 10000}\nlibvirt: {enabled: false}\ntree: {enabled: false}\n", dir, source)
	return os.WriteFile(filepath.Join(dir, "host.yaml"), []byte(text), 0o600)
}
