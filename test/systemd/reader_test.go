package systemd

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A readerReport is what a reader has seen.
type readerReport struct {
	Reads, Failed, Decreases int
	First, Last              uint64        // µJ
	Stall                    time.Duration // the longest read
	Error                    string        // of the last that failed
}

// readMeter is a process that reads the counter below dir every 2 ms until its input ends, and reports. It says
// when it has begun.
func readMeter(dir string) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	var r readerReport
	for last := false; !last; {
		if r.Reads > 0 {
			select {
			case <-ticker.C:
			case <-ended:
				last = true // one more, which sees what its parent has seen before
			}
		}
		began := time.Now()
		energy, err := readCounter(dir + "/intel-rapl:0/energy_uj")
		r.Stall = max(r.Stall, time.Since(began))
		r.Reads++
		switch {
		case err != nil:
			r.Failed++
			r.Error = err.Error()
		case energy < r.Last:
			r.Decreases++
			fallthrough
		default:
			r.Last = energy
		}
		if r.Reads == 1 {
			r.First = energy
			fmt.Println("reading")
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// readCounter opens and reads by plain system calls, as readers other than Go programs do.
func readCounter(path string) (uint64, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var text [64]byte
	n, err := unix.Read(fd, text[:])
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text[:n])), 10, 64)
}

// startReader reads the meter in a process of its own until stop is called; prefix is the command that it is started by.
func startReader(t *testing.T, dir string, prefix ...string) (stop func() readerReport) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(prefix, self)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), envReader+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	if _, err := fmt.Fscanln(stdout, new(string)); err != nil {
		t.Fatalf("reader: %v", err)
	}
	return func() readerReport {
		t.Helper()
		var r readerReport
		stdin.Close()
		if err := json.NewDecoder(stdout).Decode(&r); err != nil {
			t.Fatalf("reader: %v", err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("reader: %v", err)
		}
		t.Logf("%d reads, %d failed, %d decreases, %d µJ counted, longest stall %v", r.Reads, r.Failed, r.Decreases, r.Last-r.First, r.Stall)
		if r.Failed != 0 || r.Decreases != 0 || r.Last <= r.First {
			t.Errorf("a guest's reader saw the service's restarts: %+v", r)
		}
		return r
	}
}
