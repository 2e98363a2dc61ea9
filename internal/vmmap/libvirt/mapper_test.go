//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/vmmap"
)

const (
	uuidA = "a0000000-0000-4000-8000-00000000000a"
	uuidB = "b0000000-0000-4000-8000-00000000000b"

	soon   = 2 * time.Second  // how long an announced change may take to show
	slowly = 30 * time.Second // how long what waits for the retries of a connection may take
)

// The whole ladder on a real libvirtd with real qemus and virtiofsds: identity, changes, and a daemon that hangs and dies.
func TestRealLibvirtd(t *testing.T) {
	d := newDaemon(t)
	d.define("vmmaptest-a", uuidA)
	d.virsh("start", "vmmaptest-a")

	checkSockets(t, d.uri("libvirt-sock-ro"))
	client, err := Open(d.uri("libvirt-sock-ro"), silent)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	m := vmmap.New(vmmap.Config{Procfs: "/proc", Runtime: filepath.Join(d.run(), "qemu"), Libvirt: client, Log: silent})
	if err := m.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	find := func(uuid string) (vm vmmap.VM, ok bool) {
		for _, vm := range m.Current().VMs {
			if vm.UUID == uuid {
				return vm, true
			}
		}
		return vmmap.VM{}, false
	}
	state := func(uuid string, want vmmap.State) func() bool {
		return func() bool { vm, ok := find(uuid); return ok && vm.State == want }
	}
	fresh := func() bool { return m.Current().Note == "libvirt" }

	a, _ := find(uuidA)
	if a.Name != "vmmaptest-a" || a.Title != "the title of vmmaptest-a" || a.VCPUs != 2 || a.State != vmmap.Running ||
		a.Source != vmmap.FromLibvirt || a.Project != "lab" || a.User != "alice" || a.Flavor != "m1.tiny" {
		t.Errorf("a: %+v", a)
	}
	// The pid file is what libvirt itself says.
	text, err := os.ReadFile(filepath.Join(d.run(), "qemu/vmmaptest-a.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if pid := strings.TrimSpace(string(text)); pid != strconv.Itoa(int(a.Process.PID)) {
		t.Errorf("a is process %d, libvirt says %s", a.Process.PID, pid)
	}
	var programs []string
	for _, helper := range a.Helpers {
		exe, _ := os.Readlink("/proc/" + strconv.Itoa(int(helper.PID)) + "/exe")
		programs = append(programs, filepath.Base(exe))
		if i, ok := m.Current().Find(helper.PID, helper.Start); !ok || m.Current().VMs[i].UUID != uuidA {
			t.Errorf("helper %d is not found", helper.PID)
		}
	}
	if strings.Join(programs, " ") != "virtiofsd virtiofsd" {
		t.Errorf("helpers of a: %q, want virtiofsd and its child", programs)
	}
	if !fresh() {
		t.Errorf("note: %q", m.Current().Note)
	}

	d.define("vmmaptest-b", uuidB)
	until(t, soon, "a defined domain shows", state(uuidB, vmmap.Shutoff))
	d.virsh("start", "vmmaptest-b")
	until(t, soon, "a started domain shows", func() bool {
		vm, _ := find(uuidB)
		return vm.State == vmmap.Running && vm.Process.PID != 0 && len(vm.Helpers) == 2
	})
	d.virsh("suspend", "vmmaptest-b")
	until(t, soon, "a suspended domain shows", state(uuidB, vmmap.Paused))
	d.virsh("resume", "vmmaptest-b")
	until(t, soon, "a resumed domain shows", state(uuidB, vmmap.Running))

	t.Run("hanging daemon", func(t *testing.T) {
		before, _ := find(uuidA)
		if err := d.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		asked := time.Now()
		if err := m.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		t.Logf("a look took %v", time.Since(asked).Round(time.Millisecond))
		until(t, soon, "the map is marked stale", func() bool { return strings.Contains(m.Current().Note, "stale") })
		asked = time.Now()
		if err := m.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(asked); took > time.Second {
			t.Errorf("the next look took %v", took)
		}
		if after, _ := find(uuidA); after.Process != before.Process || after.Title != before.Title || len(after.Helpers) != 2 {
			t.Errorf("a was %+v, is %+v", before, after)
		}
		if err := d.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		until(t, slowly, "libvirt answers again", fresh)
	})

	t.Run("killed daemon", func(t *testing.T) {
		d.end(syscall.SIGKILL)
		until(t, soon, "the map is marked stale", func() bool { return strings.Contains(m.Current().Note, "stale") })
		if !state(uuidA, vmmap.Running)() || !state(uuidB, vmmap.Running)() {
			t.Errorf("without libvirtd: %+v", m.Current().VMs)
		}
		d.start()
		until(t, slowly, "libvirt answers again", fresh)
	})

	d.virsh("destroy", "vmmaptest-b")
	until(t, soon, "a destroyed domain shows", func() bool {
		vm, _ := find(uuidB)
		return vm.State == vmmap.Shutoff && vm.Process == (proc.ID{}) && len(vm.Helpers) == 0
	})
	d.virsh("undefine", "vmmaptest-b")
	until(t, soon, "an undefined domain vanishes", func() bool { _, ok := find(uuidB); return !ok })

	t.Run("runtime files alone", func(t *testing.T) {
		m := vmmap.New(vmmap.Config{Procfs: "/proc", Runtime: filepath.Join(d.run(), "qemu"), Log: silent})
		if err := m.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, vm := range m.Current().VMs {
			if vm.UUID == uuidA && vm.Source == vmmap.FromRuntime && vm.Process == a.Process && vm.Title == a.Title && len(vm.Helpers) == 2 {
				return
			}
		}
		t.Errorf("got %+v", m.Current().VMs)
	})
	t.Run("command lines alone", func(t *testing.T) {
		m := vmmap.New(vmmap.Config{Procfs: "/proc", Runtime: t.TempDir(), Log: silent})
		if err := m.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, vm := range m.Current().VMs {
			if vm.UUID == uuidA && vm.Source == vmmap.FromArgv && vm.Process == a.Process && vm.Name == a.Name && vm.VCPUs == 2 && len(vm.Helpers) == 2 {
				return // its helpers by their cgroup
			}
		}
		t.Errorf("got %+v", m.Current().VMs)
	})
}
