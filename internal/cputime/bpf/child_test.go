package bpf

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/cputime/cputimetest"
)

// role is set for children of the test, and says what they do instead of testing.
const role = "CPUTIME_BPF_TEST_ROLE"

func TestMain(m *testing.M) {
	what, argument, _ := strings.Cut(os.Getenv(role), " ")
	d, _ := time.ParseDuration(argument)
	switch what {
	case "burn": // until the process's own clock says so, and end
		burn(unix.CLOCK_PROCESS_CPUTIME_ID, d)
	case "command": // the same again for each line of input, and write the clock
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			burn(unix.CLOCK_PROCESS_CPUTIME_ID, clock(unix.CLOCK_PROCESS_CPUTIME_ID)+d)
			fmt.Println(int64(clock(unix.CLOCK_PROCESS_CPUTIME_ID)))
		}
	case "threads": // each line of input makes threads that burn and end
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			burnInThreads(20, d)
			fmt.Println(int64(clock(unix.CLOCK_PROCESS_CPUTIME_ID)))
		}
	case "exec": // a thread that is not the leader burns and replaces the process
		execFromThread(d)
	case "load": // what the test of capabilities does without the others
		loadAlone()
	case "wait":
		_, _ = io.Copy(io.Discard, os.Stdin)
	default:
		cputimetest.Main(m)
	}
}

func clock(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

func burn(id int32, until time.Duration) {
	for clock(id) < until {
		continue
	}
}

// burnInThreads lets n threads burn, one after the other. Each ends, as its goroutine keeps it locked.
func burnInThreads(n int, d time.Duration) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			runtime.LockOSThread()
			burn(unix.CLOCK_THREAD_CPUTIME_ID, d)
		})
		wg.Wait()
	}
}

func execFromThread(d time.Duration) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		for unix.Gettid() == unix.Getpid() { // the leader: leave it blocked here and take another
			inner := make(chan struct{})
			go func() {
				runtime.LockOSThread()
				done <- burnAndExec(d)
				close(inner)
			}()
			<-inner
		}
		done <- burnAndExec(d)
	}()
	panic(<-done)
}

func burnAndExec(d time.Duration) error {
	burn(unix.CLOCK_THREAD_CPUTIME_ID, d)
	return unix.Exec("/proc/self/exe", os.Args, []string{role + "=command 100ms"})
}

// loadAlone takes two looks and reports what fails.
func loadAlone() {
	p, err := New("/proc", cputime.NewDomains("/sys", nil, nil))
	if err != nil {
		fmt.Println("refused:", err)
		return
	}
	s := new(cputime.Sample)
	for range 2 {
		if err := p.Sample(s); err != nil {
			fmt.Println("failed:", err)
			return
		}
	}
	note, seen := p.Note(), totalOf(p.Baseline(), os.Getpid()) > 0
	if err := p.Close(); err != nil {
		fmt.Println("failed:", err)
		return
	}
	fmt.Printf("saw this process: %v; note: %q\n", seen, note)
}

// command prepares a child that plays a role.
func command(what string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), role+"="+what,
		"GORACE=atexit_sleep_ms=0") // the race detector lets a program sleep for a second before it ends
	cmd.Stderr = os.Stderr
	return cmd
}

// A child answers each line of input with its process clock.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startChild(t *testing.T, what string) *child {
	t.Helper()
	c := &child{t: t, cmd: command(what)}
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

func (c *child) ask() (clock time.Duration) {
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

// end ends the child and gives its CPU time as wait4(2) tells it.
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
