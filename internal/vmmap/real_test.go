package vmmap

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/test/rights"
)

const (
	// standIn makes the test binary wait instead of testing: it stands in for a qemu.
	standIn = "SCAPH_TEST_STAND_IN"
	// lookAt makes the test binary print the Map of the real /proc and the runtime directory that it names.
	lookAt = "SCAPH_TEST_LOOK_AT"
	// procfsAt is where it finds procfs, if not at /proc.
	procfsAt = "SCAPH_TEST_PROCFS"
	// execAgain makes a stand-in execute itself when it gets SIGUSR1.
	execAgain = "SCAPH_TEST_EXEC_AGAIN"
)

func TestMain(m *testing.M) {
	if os.Getenv(standIn) != "" {
		if os.Getenv(execAgain) != "" {
			again := make(chan os.Signal, 1)
			signal.Notify(again, syscall.SIGUSR1)
			fmt.Println("ready")
			<-again
			_ = os.Unsetenv(execAgain)
			_ = syscall.Exec(os.Args[0], os.Args, os.Environ())
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	if dir := os.Getenv(lookAt); dir != "" {
		m := New(Config{Procfs: cmp.Or(os.Getenv(procfsAt), "/proc"), Runtime: dir, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
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
	return startStandInAs(t, nil)
}

func startStandInAs(t *testing.T, as *syscall.SysProcAttr, env ...string) (cmd *exec.Cmd, stop func()) {
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
	cmd.Env = append(append(os.Environ(), standIn+"=1"), env...)
	cmd.SysProcAttr = as
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
	if slices.Contains(env, execAgain+"=1") { // wait until it has its signal handler
		if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
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
	if p := m.processes.known.Find(vm.Process.PID); p == nil || !p.proof || p.uid != uint32(os.Geteuid()) || p.parent != int32(os.Getpid()) {
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

// mountHiding mounts a procfs that hides processes of other users, until the test ends.
func mountHiding(t *testing.T) string {
	t.Helper()
	rights.Require(t, rights.Root)
	dir, err := os.MkdirTemp("", "vmmap") // not below t.TempDir, which other users cannot enter
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), syscall.Mount("proc", dir, "proc", 0, "hidepid=2")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(syscall.Unmount(dir, syscall.MNT_DETACH), os.Remove(dir)); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Where procfs hides the processes of others, whoever may not see them is told so.
func TestHidepidHides(t *testing.T) {
	procfs := mountHiding(t)
	cmd, stop := startStandIn(t)
	defer stop()
	asked := exec.Command(cmd.Path)
	asked.Env = []string{lookAt + "=/nonexistent", procfsAt + "=" + procfs}
	asked.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	asked.Dir = "/"
	out, err := asked.Output()
	if err != nil {
		t.Fatal(err)
	}
	var m Map
	if err := json.Unmarshal(out, &m); err != nil || !strings.Contains(m.Note, "hidepid=") || !strings.Contains(m.Note, "CAP_SYS_PTRACE") {
		t.Errorf("%v; note: %q", err, m.Note)
	}
	seen := New(Config{Procfs: procfs, Runtime: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if vms := look(t, seen); vms[realUUID].Process.PID != int32(cmd.Process.Pid) || strings.Contains(seen.Current().Note, "hidepid") {
		t.Errorf("root sees %+v, note %q", vms, seen.Current().Note)
	}
}

// In a user namespace everybody is root; the account is whoever made it.
func TestUserNamespace(t *testing.T) {
	rights.Require(t, rights.Root)
	cmd, stop := startStandInAs(t, &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}, // root of the host, even
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	})
	defer stop()
	m := New(Config{Procfs: "/proc", Runtime: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	vm := look(t, m)[realUUID]
	if vm.Process.PID != int32(cmd.Process.Pid) || !vm.Ordinary {
		t.Errorf("got %+v", vm)
	}
	if p := m.processes.known.Find(vm.Process.PID); p == nil || p.account != (proc.Account{UID: 0}) || p.uid != 0 {
		t.Errorf("the process shows as %+v", p)
	}
}

// A program that is executed shows, though process id, start time and name stay.
func TestRealExecShows(t *testing.T) {
	cmd, stop := startStandInAs(t, nil, execAgain+"=1")
	defer stop()
	pid := int32(cmd.Process.Pid)
	m := New(Config{Procfs: "/proc", Runtime: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	look(t, m)
	before := m.processes.known.Find(pid)
	if before == nil || before.image == 0 {
		t.Fatalf("before: %+v", before)
	}
	look(t, m)
	if again := m.processes.known.Find(pid); again.image != before.image {
		t.Error("the image changed, and nothing was executed")
	}
	if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(10 * time.Second)
	unknown := func(p *observed) bool { return p.faulty || p.image == before.image } // faulty: in the middle of it
	for look(t, m); unknown(m.processes.known.Find(pid)); look(t, m) {
		select {
		case <-deadline:
			t.Fatal("it executed itself, and that does not show")
		case <-time.After(5 * time.Millisecond):
		}
	}
	if after := m.processes.known.Find(pid); after.ID != before.ID || after.comm != before.comm || !after.proof {
		t.Errorf("after: %+v, before: %+v", after, before)
	}
}
