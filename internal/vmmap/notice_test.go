package vmmap

import (
	"context"
	"fmt"
	"path/filepath"
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

// told makes a Mapper that is told of all that begins, as the meter does at each tick.
func told(t *testing.T, h *fakeHost) *Mapper {
	t.Helper()
	m := h.mapper(nil)
	look(t, m)
	m.noticed.open(true)
	m.noticed.add(nil)
	if err := m.refresh(t.Context(), false); err != nil { // the listing that meets what began before
		t.Fatal(err)
	}
	return m
}

// tell has a Mapper look at processes that were noticed.
func tell(t *testing.T, m *Mapper, ids ...proc.ID) {
	t.Helper()
	done := m.noticed.add(ids)
	m.glance(t.Context())
	<-done
}

// Where all that begin are told of, processes are not listed, and so cost nothing while they idle.
// Where one was not, the next look lists them.
func TestLooksListNoProcessesThatAreToldOf(t *testing.T) {
	quick := func(t *testing.T, m *Mapper) map[string]VM {
		t.Helper()
		if err := m.refresh(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		return byUUID(m.Current())
	}
	for title, c := range map[string]struct {
		before func(*fakeHost, *Mapper)
		lists  bool
	}{
		"told":            {func(*fakeHost, *Mapper) {}, false},
		"told of another": {func(h *fakeHost, m *Mapper) { tell(t, m, proc.ID{PID: 21, Start: 600}) }, false},
		"not told":        {func(h *fakeHost, m *Mapper) { m.noticed.heard = time.Now().Add(-lookEvery) }, true},
		"told of too many": {func(h *fakeHost, m *Mapper) {
			m.noticed.add(make([]proc.ID, maxNoticed))
			m.noticed.add([]proc.ID{{PID: 20, Start: 500}})
			m.noticed.take()
		}, true},
		"a listing failed": {func(h *fakeHost, m *Mapper) {
			m.noticed.miss()
			there := m.processes.dir
			m.processes.dir = proc.NewDir(proc.Kernel{}, h.proc+"/none")
			if m.refresh(t.Context(), false) == nil {
				t.Error("what is not there was listed")
			}
			m.processes.dir = there
		}, true},
		"none for long": {func(h *fakeHost, m *Mapper) { m.scanned = time.Now().Add(-rescanEvery) }, true},
	} {
		t.Run(title, func(t *testing.T) {
			h := newFakeHost(t, fakeProcess{pid: 21, start: 600, exe: "/bin/bash"})
			m := told(t, h)
			h.start(qemu(20, 500, system, "new", uuidA))
			c.before(h, m)
			if _, found := quick(t, m)[uuidA]; found != c.lists {
				t.Errorf("found: %v, want %v", found, c.lists)
			}
		})
	}
	t.Run("from the first on", func(t *testing.T) {
		h := newFakeHost(t)
		m := h.mapper(nil)
		look(t, m)
		h.start(qemu(20, 500, system, "new", uuidA)) // before the first tick, which tells of nothing
		m.noticed.open(true)
		m.noticed.add(nil)
		if _, found := quick(t, m)[uuidA]; !found {
			t.Error("what began before the meter did is not known")
		}
	})
}

// The end of a VM shows when it is told, not at the next listing; and if it is not, within a minute.
func TestTheEndOfAVMIsNoticed(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, system, "a", uuidA), qemu(21, 510, system, "b", uuidB))
	m := told(t, h)
	h.end(20)
	h.end(21)
	tell(t, m, proc.ID{PID: 20, Start: 500})
	if vms := byUUID(m.Current()); len(vms) != 1 || vms[uuidB].Process.PID != 21 {
		t.Errorf("got %+v", vms)
	}
	if m.processes.known.Find(20) != nil {
		t.Error("what has ended is still known")
	}
	if err := m.refresh(t.Context(), true); err != nil || len(m.Current().VMs) != 0 {
		t.Errorf("%v; after the full look %+v", err, m.Current().VMs)
	}
}

// What is young may yet change in ways that nobody notices; where all that begin are told of, it is
// looked at until it is old, and then no more.
func TestTheYoungAreLookedAtAgain(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, system, "a", uuidA))
	m := told(t, h)
	helper := fakeProcess{pid: 30, start: 99_900, exe: "/usr/libexec/virtiofsd"}
	plain := fakeProcess{pid: 31, start: 99_900, exe: "/bin/bash"}
	h.start(helper)
	h.start(plain)
	tell(t, m, proc.ID{PID: 30, Start: 99_900}, proc.ID{PID: 31, Start: 99_900})
	scoped := "/machine.slice/machine-qemu-1-a.scope"
	helper.cgroup, plain.cgroup = scoped, scoped
	h.start(helper)
	h.start(plain)
	scope := func(pid int32) string { return m.processes.known.Find(pid).scope }
	quick := func() {
		t.Helper()
		if err := m.refresh(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	if quick(); scope(30) == "" || scope(31) != "" {
		t.Errorf("scopes %q and %q, want the helper's alone", scope(30), scope(31))
	}
	h.write(filepath.Join(h.proc, "uptime"), "1030.00 500.00\n")
	if quick(); scope(31) == "" {
		t.Error("what is no longer young was not looked at once more")
	}
	at := m.processes.known.Find(31)
	if quick(); m.processes.known.Find(31) != at || !at.settled {
		t.Error("it is looked at for ever")
	}
}

// slowFiles are files of which one is not opened until it is released.
type slowFiles struct {
	proc.Kernel
	path    string
	release chan struct{}
}

func (f slowFiles) Open(dir int, path []byte) (int, error) {
	if string(path) == f.path {
		<-f.release
	}
	return f.Kernel.Open(dir, path)
}

// A storm of processes is no reason for the tick to wait until all of them were looked at.
func TestAStormOfProcessesDelaysNobody(t *testing.T) {
	h := newFakeHost(t)
	m := told(t, h)
	ids := []proc.ID{{PID: 20, Start: 500}}
	h.start(qemu(20, 500, system, "new", uuidA))
	for pid := 100; len(ids) < maxNoticed; pid++ {
		h.start(fakeProcess{pid: pid, start: 500, exe: "/bin/bash"})
		ids = append(ids, proc.ID{PID: int32(pid), Start: 500})
	}
	slow := slowFiles{path: fmt.Sprintf("%d/stat\x00", ids[awaited].PID), release: make(chan struct{})}
	m.processes.dir = proc.NewDir(slow, h.proc)
	done, looked := m.noticed.add(ids), make(chan struct{})
	go func() {
		defer close(looked)
		m.glance(t.Context())
	}()
	<-done
	if _, known := byUUID(m.Current())[uuidA]; !known {
		t.Error("the likeliest is not known")
	}
	close(slow.release)
	<-looked
	if n := m.processes.known.Len(); n != maxNoticed {
		t.Errorf("%d were looked at, want all", n)
	}
}
