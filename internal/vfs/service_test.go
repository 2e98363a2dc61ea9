package vfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/fdstore"
	"github.com/scaph/scaph/test/rights"
)

// A child is a service process.
type child struct {
	*exec.Cmd
	out   *bufio.Reader
	first string // what it said when it began to serve
}

// startChild runs the service at a mount point, with the store's descriptors if there is a store, and waits
// until it serves.
func startChild(t *testing.T, store *fdstore.Store, path string, epoch time.Time, env ...string) *child {
	t.Helper()
	c := launchChild(t, store, path, epoch, env...)
	line, err := c.out.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	c.first = strings.TrimSpace(line)
	return c
}

func launchChild(t *testing.T, store *fdstore.Store, path string, epoch time.Time, env ...string) *child {
	t.Helper()
	rights.Require(t, rights.FUSE)
	cmd := fdstore.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envMount+"="+path, fmt.Sprintf("%s=%d", envEpoch, epoch.UnixNano()))
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0") // else the race detector delays the handing over by a second
	cmd.Env = append(cmd.Env, env...)
	started := func() {}
	if store != nil {
		started, _ = store.Hand(cmd)
	}
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Start()
	started()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // already gone, if the test went well
		_ = cmd.Wait()
	})
	return &child{Cmd: cmd, out: bufio.NewReader(out)}
}

func (c *child) end(t *testing.T, sig unix.Signal) {
	t.Helper()
	if err := c.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	err := c.Wait()
	if sig == unix.SIGTERM && err != nil {
		t.Errorf("end by SIGTERM: %v", err)
	}
}

// readers read VM directories until stopped: half of them opening anew each time, half rewinding a held descriptor.
type readers struct {
	stop chan struct{}
	wg   sync.WaitGroup

	mu       sync.Mutex
	reads    int
	failures []error
	stall    time.Duration // longest time one read took
}

func startReaders(t *testing.T, path string, n int) *readers {
	t.Helper()
	r := &readers{stop: make(chan struct{})}
	for i := range n {
		file := filepath.Join(path, fmt.Sprintf("vm%d", i%3), "intel-rapl:0/energy_uj")
		fd := -1
		if i%2 == 1 {
			var err error
			if fd, err = unix.Open(file, unix.O_RDONLY, 0); err != nil {
				t.Fatal(err)
			}
		}
		r.wg.Go(func() { r.loop(file, fd) })
	}
	return r
}

func (r *readers) loop(file string, held int) {
	var last uint64
	buf := make([]byte, 64)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	if held >= 0 {
		defer unix.Close(held)
	}
	for {
		select {
		case <-r.stop:
			return
		case <-ticker.C:
		}
		began := time.Now()
		value, err := readValue(file, held, buf)
		took := time.Since(began)
		if err == nil && value < last {
			err = fmt.Errorf("decreased from %d to %d", last, value)
		}
		last = max(last, value)
		r.mu.Lock()
		r.reads++
		r.stall = max(r.stall, took)
		if err != nil {
			r.failures = append(r.failures, err)
		}
		r.mu.Unlock()
	}
}

func (r *readers) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reads
}

// readValue opens with system calls alone: see prime.
func readValue(file string, fd int, buf []byte) (uint64, error) {
	if fd < 0 {
		var err error
		if fd, err = unix.Open(file, unix.O_RDONLY, 0); err != nil {
			return 0, err
		}
		defer unix.Close(fd)
	}
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return 0, err
	}
	text, ok := strings.CutSuffix(string(buf[:n]), "\n")
	if !ok {
		return 0, fmt.Errorf("read %q", buf[:n])
	}
	return strconv.ParseUint(text, 10, 64)
}

func (r *readers) finish(t *testing.T) {
	t.Helper()
	close(r.stop)
	done := make(chan struct{})
	go func() { r.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("stuck readers")
	}
	t.Logf("%d reads, %d failed, longest %v", r.reads, len(r.failures), r.stall)
}

// poll waits until a condition holds.
func poll(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("no %s within 20 s", what)
		}
	}
}
