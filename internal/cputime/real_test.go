package cputime

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/proc"
)

// busyFor is set for a child of the test that uses CPU time on demand: for each line that it reads
// it burns that long by its own process clock, and then writes what the clock says, in ns.
const busyFor = "CPUTIME_TEST_BUSY"

func TestMain(m *testing.M) {
	if text := os.Getenv(busyFor); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			panic(err)
		}
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			for until := processClock() + d; processClock() < until; {
				continue
			}
			fmt.Println(int64(processClock()))
		}
		return
	}
	os.Exit(m.Run())
}

func processClock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

// A child is a process of known CPU time.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startChild(t *testing.T, busy time.Duration) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), busyFor+"="+busy.String())
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// burn makes the child burn once, and gives its clock after that.
func (c *child) burn() (clock time.Duration) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in); err != nil {
		c.t.Fatal(err)
	}
	if !c.out.Scan() {
		c.t.Fatal("the child ended:", c.out.Err())
	}
	if _, err := fmt.Sscan(c.out.Text(), &clock); err != nil {
		c.t.Fatal(err)
	}
	return clock
}

func (c *child) end() {
	c.t.Helper()
	if err := c.in.Close(); err != nil {
		c.t.Error(err)
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Error(err)
	}
}

func TestBusyChildAndItsEnd(t *testing.T) {
	p := openSource(t, proc.Kernel{}, "/proc", NewDomains("/sys", nil, nil))
	sample(t, p)
	c := startChild(t, 300*time.Millisecond)
	pid := c.cmd.Process.Pid
	const rounding = 25 * time.Millisecond // user and system time are both cut off, and the pipe takes some
	before := c.burn()
	s := sample(t, p)
	q := find(t, s, pid, false)
	if got := time.Duration(q.Delta[0]); (got - before).Abs() > rounding { // a new one is charged its past
		t.Errorf("charged %v in the first look, its clock says %v", got, before)
	}
	after := c.burn()
	s = sample(t, p)
	q = find(t, s, pid, false)
	if got := time.Duration(q.Delta[0]); (got - (after - before)).Abs() > rounding {
		t.Errorf("charged %v, its clock says %v", got, after-before)
	}
	if int(q.Parent.PID) != os.Getpid() || q.Parent.Start == 0 {
		t.Errorf("parent %v", q.Parent)
	}
	if explained := q.Delta[0]; s.Busy[0]+uint64(100*time.Millisecond) < explained || s.Capacity[0] < s.Busy[0] {
		t.Errorf("busy %d of %d ns, the child alone %d", s.Busy[0], s.Capacity[0], explained)
	}
	c.end()
	if s := sample(t, p); find(t, s, pid, true) == nil || find(t, s, pid, false) != nil {
		t.Error("its end was not told")
	}
}

// startIdle starts processes that do nothing until the benchmark ends.
func startIdle(b *testing.B, n int) {
	b.Helper()
	for range n {
		sleeper := exec.Command("sleep", "infinity")
		if err := sleeper.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = sleeper.Process.Kill()
			_ = sleeper.Wait()
		})
	}
}

func BenchmarkProcfsSample(b *testing.B) {
	for _, idle := range []int{0, 1000} {
		b.Run(fmt.Sprintf("idle=%d", idle), func(b *testing.B) {
			startIdle(b, idle)
			p := openSource(b, proc.Kernel{}, "/proc", NewDomains("/sys", nil, nil))
			s := sample(b, p)
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Sample(s); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(s.Processes)), "ns/process")
		})
	}
}

// BenchmarkPlainScan is what BenchmarkProcfsSample is to be compared with: the usual library.
func BenchmarkPlainScan(b *testing.B) {
	for _, idle := range []int{0, 1000} {
		b.Run(fmt.Sprintf("idle=%d", idle), func(b *testing.B) {
			startIdle(b, idle)
			fs, err := procfs.NewFS("/proc")
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				processes, err := fs.AllProcs()
				if err != nil {
					b.Fatal(err)
				}
				for _, p := range processes {
					if _, err := p.Stat(); err != nil {
						continue // it ended
					}
					n++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/process")
		})
	}
}
