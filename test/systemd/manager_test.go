package systemd

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// within bounds every wait for something that is to happen.
const within = 20 * time.Second

// A manager stands in for systemd's side of a unit: the notify protocol with its descriptor store (sd_notify(3),
// sd_pid_notify_with_fds(3)), and how commands are started (sd_listen_fds(3)). It was written after those pages.
type manager struct {
	t      *testing.T
	socket string
	conn   *net.UnixConn
	done   chan struct{}

	mu    sync.Mutex
	store []*os.File // as they came, which is how they are passed
	puts  int
	ready chan struct{} // closed by READY=1
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{t: t, socket: filepath.Join(publicDir(t), "notify"), done: make(chan struct{}), ready: make(chan struct{})}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(m.socket, 0o777); err != nil { // as systemd's: the service is not root
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
	text, oob := make([]byte, 4096), make([]byte, 256)
	for {
		n, oobn, _, _, err := m.conn.ReadMsgUnix(text, oob)
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
		m.message(string(text[:n]), fds)
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
	case fields["FDSTORE"] == "1" && len(fds) == 1 && name != "":
		if fields["FDPOLL"] != "0" {
			m.t.Errorf("service manager: %s would be dropped when its connection is aborted", name)
		}
		unix.CloseOnExec(fds[0])
		m.store = append(m.store, os.NewFile(uintptr(fds[0]), name))
		m.puts++
	case fields["FDSTOREREMOVE"] == "1" && len(fds) == 0:
		m.store = slices.DeleteFunc(m.store, func(f *os.File) bool { return f.Name() == name && f.Close() == nil })
	case fields["BARRIER"] == "1" && len(fds) == 1:
		unix.Close(fds[0])
	case fields["READY"] == "1":
		select {
		case <-m.ready:
		default:
			close(m.ready)
		}
	case fields["WATCHDOG"] == "1":
	default:
		m.t.Errorf("service manager: cannot make sense of %q with %d descriptors", text, len(fds))
	}
}

// stored lists the names of what is in the store, and tells how often something was put there.
func (m *manager) stored() (names []string, puts int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.store {
		names = append(names, f.Name())
	}
	slices.Sort(names)
	return names, m.puts
}

// clear drops what is in the store, as systemd before 254 does when the unit is stopped.
func (m *manager) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.store {
		f.Close()
	}
	m.store = nil
}

// environment of a command without the descriptors, which systemd passes to ExecStart= only.
func (m *manager) environment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "NOTIFY_SOCKET=") && !strings.HasPrefix(e, "LISTEN_") {
			env = append(env, e)
		}
	}
	return append(env, "NOTIFY_SOCKET="+m.socket)
}

// pre runs a command of ExecStartPre=+ to its end.
func (m *manager) pre(args ...string) (output string, took time.Duration) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), args[0], args[1:]...)
	cmd.Env = m.environment()
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out), time.Since(began)
}

// A process is what ExecStart= has become.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	log lockedBuffer
}

// start starts a command of ExecStart= and waits until it is ready.
func (m *manager) start(args ...string) *process {
	m.t.Helper()
	// The process id is not known before there is a process, so it takes a shell to put it into LISTEN_PID.
	cmd := exec.Command("/bin/sh", append([]string{"-c", `export LISTEN_PID=$$; exec "$@"`, "sh"}, args...)...)
	p := &process{t: m.t, cmd: cmd}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	ready := make(chan struct{})
	m.mu.Lock()
	m.ready = ready
	var names []string
	for _, f := range m.store {
		names = append(names, f.Name())
	}
	cmd.ExtraFiles = m.store // from 3 on, as SD_LISTEN_FDS_START has it
	cmd.Env = append(m.environment(), fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	err := cmd.Start()
	m.mu.Unlock()
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { p.end(syscall.SIGKILL) })
	select {
	case <-ready:
	case <-time.After(within):
		p.end(syscall.SIGKILL)
		m.t.Fatalf("not ready after %v:\n%s", within, p.log.String())
	}
	return p
}

// end sends a signal and waits for the end; it may be called again.
func (p *process) end(signal syscall.Signal) {
	p.t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(signal) // it may have ended by itself
	err := p.cmd.Wait()
	if signal == syscall.SIGTERM && err != nil {
		p.t.Errorf("after SIGTERM: %v\n%s", err, p.log.String())
	}
}

// A lockedBuffer takes the output of a process that is still running.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
