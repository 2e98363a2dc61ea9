package vfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A manager stands in for the service manager's side of the descriptor store protocol (sd_notify(3),
// sd_pid_notify_with_fds(3)), written after those pages and not after our side.
type manager struct {
	t      *testing.T
	socket string
	conn   *net.UnixConn
	done   chan struct{}

	mu    sync.Mutex
	store map[string]*os.File
	log   []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{t: t, socket: filepath.Join(t.TempDir(), "notify"), done: make(chan struct{}), store: make(map[string]*os.File)}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m.conn = conn
	go m.receive()
	t.Cleanup(func() {
		conn.Close()
		<-m.done
		m.clear()
	})
	return m
}

func (m *manager) receive() {
	defer close(m.done)
	buf, oob := make([]byte, 4096), make([]byte, 256)
	for {
		n, oobn, _, _, err := m.conn.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		var fds []int
		if controls, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil {
			for _, c := range controls {
				if got, err := unix.ParseUnixRights(&c); err == nil {
					fds = append(fds, got...)
				}
			}
		}
		m.message(string(buf[:n]), fds)
	}
}

func (m *manager) message(text string, fds []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			fields[key] = value
		}
	}
	name := fields["FDNAME"]
	switch {
	case fields["FDSTORE"] == "1" && fields["FDPOLL"] == "0" && len(fds) == 1 && name != "" && m.store[name] == nil:
		unix.CloseOnExec(fds[0])
		m.store[name] = os.NewFile(uintptr(fds[0]), name)
	case fields["FDSTOREREMOVE"] == "1" && len(fds) == 0:
		if f := m.store[name]; f != nil {
			f.Close()
			delete(m.store, name)
		}
	case fields["BARRIER"] == "1" && len(fds) == 1:
		unix.Close(fds[0])
	default:
		m.t.Errorf("service manager: cannot make sense of %q with %d descriptors", text, len(fds))
	}
	m.log = append(m.log, text)
}

func (m *manager) stored() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.store {
		names = append(names, name)
	}
	return names
}

// clear takes all descriptors away, as a manager without a store.
func (m *manager) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, f := range m.store {
		f.Close()
		delete(m.store, name)
	}
}

// A child is a service process.
type child struct {
	*exec.Cmd
	out   *bufio.Reader
	first string // what it said when it began to serve
}

// startChild runs the service at a mount point, with the store's descriptors if there is a manager, and waits
// until it serves.
func startChild(t *testing.T, m *manager, path string, epoch time.Time, env ...string) *child {
	t.Helper()
	c := launchChild(t, m, path, epoch, env...)
	line, err := c.out.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	c.first = strings.TrimSpace(line)
	return c
}

func launchChild(t *testing.T, m *manager, path string, epoch time.Time, env ...string) *child {
	t.Helper()
	// The process id is not known before there is a process, so it takes a shell to put it into LISTEN_PID.
	cmd := exec.Command("/bin/sh", "-c", `export LISTEN_PID=$$; exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), envMount+"="+path, fmt.Sprintf("%s=%d", envEpoch, epoch.UnixNano()))
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0") // else the race detector delays the handing over by a second
	cmd.Env = append(cmd.Env, env...)
	if m != nil {
		m.mu.Lock()
		var names []string
		for name, f := range m.store {
			names = append(names, name)
			cmd.ExtraFiles = append(cmd.ExtraFiles, dup(t, f)) // the store may drop its own as soon as the process runs
		}
		m.mu.Unlock()
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+m.socket,
			"LISTEN_FDS="+strconv.Itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Start()
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
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
