package vmmap

import (
	"context"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/proc"
)

// run lets a Mapper keep its Map up to date until the test ends.
func run(t *testing.T, m *Mapper) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// notice tells of a process until the Map has a VM, long before the next scan.
func notice(t *testing.T, m *Mapper, p proc.ID, uuid string) VM {
	t.Helper()
	deadline := time.After(lookEvery / 2)
	for {
		m.Notice([]proc.ID{p})
		if vm, ok := byUUID(m.Current())[uuid]; ok {
			return vm
		}
		select {
		case <-deadline:
			t.Fatalf("%v was noticed, and is no VM", p)
		default:
		}
	}
}

// A VM that nobody announces is known when it is noticed, whatever libvirt does: new, or by a
// program that executes a qemu, of the same name even.
func TestNoticedProcesses(t *testing.T) {
	for title, libvirt := range map[string]Lister{
		"no libvirt":   nil,
		"libvirt":      &fakeLibvirt{changed: make(chan struct{})},
		"libvirt away": &fakeLibvirt{err: errAway, changed: make(chan struct{})},
	} {
		t.Run(title, func(t *testing.T) {
			wrapper := fakeProcess{pid: 21, start: 510, exe: "/bin/bash", comm: "qemu-system-x86", uid: 0}
			h := newFakeHost(t, wrapper)
			m := h.mapper(libvirt)
			look(t, m)
			run(t, m)
			h.start(qemu(20, 500, system, "new", uuidA))
			if vm := notice(t, m, proc.ID{PID: 20, Start: 500}, uuidA); vm.Process.PID != 20 {
				t.Errorf("got %+v", vm)
			}
			execs := qemu(21, 510, 0, "execs", uuidB)
			h.start(execs)
			if vm := notice(t, m, proc.ID{PID: 21, Start: 510}, uuidB); vm.Process.PID != 21 {
				t.Errorf("got %+v", vm)
			}
			m.Notice([]proc.ID{{PID: 99, Start: 1}, {PID: 20, Start: 400}, {PID: -1, Start: 0}}) // gone, another one, nonsense
			if len(m.Current().VMs) != 2 || m.Faults() > 1 {
				t.Errorf("got %+v, %d faults", m.Current().VMs, m.Faults())
			}
		})
	}
}

// hangingLibvirt answers once, and then no more.
type hangingLibvirt struct {
	fakeLibvirt
	hangs chan struct{} // closed when it is asked again
}

func (l *hangingLibvirt) List(ctx context.Context) ([]Domain, error) {
	if l.asked++; l.asked == 1 {
		return l.domains, nil
	}
	close(l.hangs)
	<-ctx.Done()
	return nil, ctx.Err()
}

// Nobody waits for a libvirtd that hangs.
func TestNoticedProcessesWhileLibvirtHangs(t *testing.T) {
	h := newFakeHost(t)
	libvirt := &hangingLibvirt{fakeLibvirt{changed: make(chan struct{}, 1)}, make(chan struct{})}
	m := h.mapper(libvirt)
	look(t, m)
	run(t, m)
	libvirt.changed <- struct{}{}
	<-libvirt.hangs
	h.start(qemu(20, 500, system, "new", uuidA))
	if vm := notice(t, m, proc.ID{PID: 20, Start: 500}, uuidA); vm.Process.PID != 20 {
		t.Errorf("got %+v", vm)
	}
}

// Where nobody takes notices, nobody waits for that.
func TestNoticeWithoutARun(t *testing.T) {
	m := newFakeHost(t).mapper(nil)
	if m.noticed.add([]proc.ID{{PID: 1, Start: 1}}) != nil {
		t.Error("a notice waits for nobody")
	}
	m.noticed.open(true)
	done := m.noticed.add(make([]proc.ID, 2*maxNoticed))
	m.noticed.add([]proc.ID{{PID: 1, Start: 1}})
	if n := len(m.noticed.waiting); n != maxNoticed {
		t.Errorf("%d wait, want %d", n, maxNoticed)
	}
	m.noticed.open(false)
	<-done
}

// A program that is executed keeps process id, start time and, here, the name. It shows whenever
// that is, at the next quick look.
func TestALateExecOfTheSameNameIsNoticed(t *testing.T) {
	h := newFakeHost(t, fakeProcess{pid: 20, start: 500, exe: "/bin/bash", comm: "qemu-system-x86", uid: system})
	m := h.mapper(nil)
	look(t, m)
	if !m.processes.known.Find(20).settled {
		t.Fatal("the wrapper is still young")
	}
	h.start(qemu(20, 500, system, "a", uuidA))
	if err := m.refresh(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if vm := byUUID(m.Current())[uuidA]; vm.Process.PID != 20 {
		t.Errorf("got %+v", m.Current().VMs)
	}
	if m.processes.known.Find(20).settled {
		t.Error("what it executed counts as old, and will not be looked at again")
	}
}
