package systemd

import (
	"bytes"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/scaph/scaph/test/fdstore"
)

// within bounds every wait for something that is to happen.
const within = 20 * time.Second

// A manager stands in for systemd's side of a unit: it starts commands, and keeps descriptors for them.
type manager struct {
	*fdstore.Store
	t *testing.T
}

func newManager(t *testing.T) *manager {
	t.Helper()
	return &manager{Store: fdstore.Start(t, publicDir(t)), t: t} // public, as the service is not root
}

// pre runs a command of ExecStartPre=+ to its end.
func (m *manager) pre(args ...string) (output string, took time.Duration) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), args[0], args[1:]...)
	cmd.Env = m.Environment()
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
	cmd := fdstore.Command(args[0], args[1:]...)
	p := &process{t: m.t, cmd: cmd}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	started, ready := m.Hand(cmd)
	err := cmd.Start()
	started()
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
