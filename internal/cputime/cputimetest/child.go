package cputimetest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/proc"
)

// busyFor is set for a child of the test that uses CPU time on demand: for each line that it reads
// it burns that long by its own process clock, and then writes what the clock says, in ns.
const busyFor = "CPUTIME_TEST_BUSY"

// Main runs the tests or, in a child of theirs, what a child does.
func Main(m *testing.M) {
	text := os.Getenv(busyFor)
	if text == "" {
		os.Exit(m.Run())
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		for until := clock() + d; clock() < until; {
			continue
		}
		fmt.Println(int64(clock()))
	}
}

func clock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
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
	c := &child{t: t, cmd: exec.CommandContext(t.Context(), "/proc/self/exe")}
	c.cmd.Env = append(os.Environ(), busyFor+"="+busy.String(),
		"GORACE=atexit_sleep_ms=0") // the race detector lets a program sleep for a second before it ends
	c.cmd.Stderr = os.Stderr
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

func (c *child) pid() int32 { return int32(c.cmd.Process.Pid) }

// burn makes the child burn once, and returns its clock after that.
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

// end ends the child, and returns its CPU time as wait4(2) tells it.
func (c *child) end() time.Duration {
	c.t.Helper()
	if err := c.in.Close(); err != nil {
		c.t.Error(err)
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Error(err)
	}
	return c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
}

func look(t *testing.T, p Source) *cputime.Sample {
	t.Helper()
	s := new(cputime.Sample)
	if err := p.Sample(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// lookUntil looks until done, each 20 ms, and fails after 10 s: a process's end may be told a moment
// after it.
func lookUntil(t *testing.T, p Source, done func(*cputime.Sample) bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if done(look(t, p)) {
			return
		}
		<-tick.C
	}
	t.Fatal("waited in vain")
}

// find returns the one entry of a process, nil where it is not named.
func find(t *testing.T, s *cputime.Sample, pid int32) *cputime.Process {
	t.Helper()
	var found *cputime.Process
	for i := range s.Processes {
		if q := &s.Processes[i]; q.PID == pid {
			if found != nil {
				t.Fatalf("process %d is named twice: %+v, %+v", pid, found, q)
			}
			found = q
		}
	}
	return found
}

// used returns an entry that is charged something, nil where none is.
func used(s *cputime.Sample) *cputime.Process {
	for i := range s.Processes {
		if slices.ContainsFunc(s.Processes[i].Delta, func(ns uint64) bool { return ns > 0 }) {
			return &s.Processes[i]
		}
	}
	return nil
}

// totals returns what the living processes have used, by process.
func totals(p Source) map[proc.ID]uint64 {
	baseline := p.Baseline()
	return baseline.Totals()
}

// clone copies a baseline, which is the source's memory.
func clone(b cputime.Baseline) cputime.Baseline {
	b.Processes, b.Busy, b.Idle = slices.Clone(b.Processes), slices.Clone(b.Busy), slices.Clone(b.Idle)
	return b
}
