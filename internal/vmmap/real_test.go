package vmmap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/scaph/scaph/test/rights"
)

const (
	// standIn makes the test binary wait instead of testing: it stands in for a qemu.
	standIn = "SCAPH_TEST_STAND_IN"
	// lookAt makes the test binary print the Map of the real /proc and the runtime directory that it names.
	lookAt = "SCAPH_TEST_LOOK_AT"
)

func TestMain(m *testing.M) {
	if os.Getenv(standIn) != "" {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	if dir := os.Getenv(lookAt); dir != "" {
		m := New(Config{Procfs: "/proc", Runtime: dir, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err := m.Refresh(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := json.NewEncoder(os.Stdout).Encode(m.Current()); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const realUUID = "0d1e6d7a-8a3a-4b0e-9b8f-5f3c2a1b0c9d"

// startStandIn runs a copy of the test binary that is named like a qemu, until stop is called.
func startStandIn(t *testing.T) (cmd *exec.Cmd, stop func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "vmmap")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	exe := filepath.Join(dir, "qemu-system-none")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(exe, text, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(exe, "-name", "guest=vmmaptest-real,debug-threads=on", "-uuid", realUUID, "-append", strings.Repeat("x", 100_000))
	cmd.Env = append(os.Environ(), standIn+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, func() {
		if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	}
}

// The real /proc, with a real process whose executable is named like a qemu.
func TestRealProcess(t *testing.T) {
	cmd, stop := startStandIn(t)
	m := New(Config{Procfs: "/proc", Runtime: t.TempDir(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	vm := look(t, m)[realUUID]
	if vm.Name != "vmmaptest-real" || vm.Process.PID != int32(cmd.Process.Pid) || vm.Source != FromArgv {
		t.Errorf("got %+v", vm)
	}
	if p := m.processes.known[vm.Process.PID]; p == nil || !p.proof || p.uid != uint32(os.Geteuid()) || p.parent != int32(os.Getpid()) {
		t.Errorf("the process shows as %+v", p)
	}
	if err := os.Remove(cmd.Path); err != nil { // as an upgrade does
		t.Fatal(err)
	}
	if vm := look(t, m)[realUUID]; vm.Process.PID != int32(cmd.Process.Pid) {
		t.Errorf("after its file was replaced: %+v", vm)
	}
	stop()
	if vm, ok := look(t, m)[realUUID]; ok {
		t.Errorf("after its end: %+v", vm)
	}
}

// A user who may see neither executables nor status documents still gets what pid files vouch for, and is told the rest.
func TestWithoutRights(t *testing.T) {
	rights.Require(t, rights.Root)
	cmd, stop := startStandIn(t)
	defer stop()
	dir := filepath.Dir(cmd.Path)
	pidFile := filepath.Join(dir, "vmmaptest-real.pid")
	status := filepath.Join(dir, "vmmaptest-real.xml")
	ask := func() (m Map) {
		t.Helper()
		asked := exec.Command(cmd.Path)
		asked.Env = []string{lookAt + "=" + dir}
		asked.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		asked.Dir = "/"
		out, err := asked.Output()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := ask(); len(m.VMs) != 0 || !strings.Contains(m.Note, "CAP_SYS_PTRACE") {
		t.Errorf("a command line alone was believed: %+v", m)
	}
	if err := errors.Join(
		os.WriteFile(pidFile, []byte(fmt.Sprintln(cmd.Process.Pid)), 0o644),
		os.WriteFile(status, nil, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	m := ask()
	if len(m.VMs) != 1 || m.VMs[0].UUID != realUUID || m.VMs[0].Source != FromRuntime || m.VMs[0].Process.PID != int32(cmd.Process.Pid) {
		t.Errorf("got %+v", m)
	}
	if !strings.Contains(m.Note, "permission denied") || !strings.Contains(m.Note, "run as root") {
		t.Errorf("note: %q", m.Note)
	}
}
