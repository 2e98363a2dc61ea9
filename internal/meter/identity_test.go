package meter

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
)

// A VM that nobody announces has its own meter from the first tick after its start, by the notice
// that the meter gives; and from the first after its exec where a wrapper of the same name was a
// process before. What that used stays where it is.
func TestVMIsKnownAtTheTickAfterItsExec(t *testing.T) {
	w := newWorld()
	w.totals[shell], w.totals[other] = 0, 0
	w.comms[shell], w.comms[other] = "bash", "qemu-system-x86" // a script of that name
	m := w.start(t)
	m.Tick()
	seen := watcher{}
	second := func(used map[proc.ID]time.Duration) *snapshot.Snapshot {
		t.Helper()
		w.noticed = nil
		w.pass(time.Second, watts, used)
		m.Tick()
		s := m.Latest()
		identity(t, s)
		seen.see(t, s)
		return s
	}
	second(use(shell, time.Second, other, time.Second))
	w.totals[qemu], w.comms[qemu] = 0, "kvm"
	w.onNotice = func() { w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "") }
	s := second(use(shell, time.Second, qemu, time.Second))
	if got := s.VMs[0].Energy.Of(energy.Package); got != 20*energy.Joule || s.VMs[0].CPU != time.Second {
		t.Errorf("the new snapshot.VM has %v and %v, want 20 J and the second that it ran", got, s.VMs[0].CPU)
	}
	if want := []proc.ID{{PID: qemu.PID, Start: qemu.Start}}; !slices.Equal(w.noticed, want) {
		t.Errorf("noticed: %v, want %v", w.noticed, want)
	}
	w.onNotice = nil
	if second(use(shell, time.Second, qemu, time.Second)); w.noticed != nil {
		t.Errorf("noticed, though nothing is new: %v", w.noticed)
	}

	second(use(other, time.Second))
	if want := []proc.ID{{PID: other.PID, Start: other.Start}}; !slices.Equal(w.noticed, want) {
		t.Errorf("noticed: %v, want what is named like a qemu", w.noticed)
	}
	execs := aVM
	execs.UUID, execs.Process = "aaaaaaaa-0000-0000-0000-000000000002", proc.ID{PID: other.PID, Start: other.Start}
	w.onNotice = func() { w.vms = vmmap.NewMap([]vmmap.VM{aVM, execs}, "") }
	before := accounted(m.Latest())
	s = second(use(other, 3*time.Second))
	if got := s.VMs[1].Energy.Of(energy.Package); got < 40*energy.Joule-2 { // but for carried remainders
		t.Errorf("after the exec the snapshot.VM has %v, want all 40 J of that second", got)
	}
	if got := accounted(s) - before; got != 45*energy.Joule {
		t.Errorf("the accounts hold %v more, want 45 J", got)
	}
	w.onNotice, w.comms[shell] = nil, "make"
	second(use(shell, time.Second, proc.ID{PID: 77, Start: 9}, time.Second))
	if len(w.noticed) != 2 {
		t.Errorf("noticed: %v, want what has another name and what is new", w.noticed)
	}
}

// Most of what runs has been there before, and is not looked at again: not when it has been idle for so long that it has no
// account any more. Ends of what the source knows are noticed; those named like a qemu come first.
func TestOnlyWhatIsNewIsNoticed(t *testing.T) {
	w := newWorld()
	w.totals[shell], w.totals[qemu], w.totals[other], w.comms[other] = 0, 0, 0, "sleep"
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "")
	m := w.start(t)
	m.Listed = 0
	run := func(d time.Duration, used map[proc.ID]time.Duration, want ...proc.ID) {
		t.Helper()
		w.noticed = nil
		w.pass(d, []energy.Watts{20, 15, 5}, used)
		m.Tick()
		var noticed []proc.ID
		for _, p := range w.noticed {
			noticed = append(noticed, proc.ID{PID: p.PID, Start: p.Start})
		}
		if !slices.Equal(noticed, want) {
			t.Errorf("tick %d: noticed %v, want %v", m.seq, noticed, want)
		}
	}
	run(time.Second, nil)
	run(time.Second, use(shell, time.Second, other, time.Second, qemu, time.Second), shell, other)
	run(time.Second, use(shell, time.Second, other, time.Second))
	run(2*idleAfter, use(shell, time.Second))
	if m.processes[other] != nil {
		t.Fatal("it still has an account")
	}
	run(time.Second, use(other, time.Second))
	w.comms[other] = "qemu-kvm"
	short := proc.ID{PID: 90, Start: 1}
	w.end(short)
	run(time.Second, use(proc.ID{PID: 80, Start: 1}, time.Second, short, time.Second, other, time.Second),
		other, proc.ID{PID: 80, Start: 1})
	w.end(qemu)
	run(time.Second, nil, qemu)
}

// Any user can claim that his VM has 65,536 CPUs; that takes nothing from the part of others.
func TestOrdinaryVMsReserveNothing(t *testing.T) {
	w := newWorld()
	fake := aVM
	fake.UUID, fake.Source, fake.Ordinary, fake.VCPUs = "00000000-0000-0000-0000-000000000001", vmmap.FromArgv, true, 65536
	fake.Process = proc.ID{PID: other.PID, Start: other.Start}
	w.totals[qemu], w.totals[other] = 0, 0
	o := w.start(t).Options
	o.Idle, o.IdleWatts = ledger.Reserved, map[string]energy.Watts{"package-0": 20}
	reserved := func(vms ...vmmap.VM) (sum, libvirts energy.Microjoules) {
		w.vms, w.kept = vmmap.NewMap(vms, ""), nil
		o.CPU = &worldCPU{world: w}
		m, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		m.Tick()
		w.pass(time.Second, watts, use(qemu, time.Second, other, time.Second))
		m.Tick()
		s := m.Latest()
		identity(t, s)
		for i := range s.VMs {
			sum += s.VMs[i].Energy[energy.Package][snapshot.Idle]
			if s.VMs[i].UUID == aVM.UUID {
				libvirts = s.VMs[i].Energy[energy.Package][snapshot.Idle]
			}
		}
		return sum, libvirts
	}
	_, alone := reserved(aVM)
	if sum, beside := reserved(aVM, fake); beside != alone || sum != beside || alone != 10*energy.Joule {
		t.Errorf("%v of %v are reserved beside the fake, %v without it; want 10 J of 10 J", beside, sum, alone)
	}
}

// What any user can start and end again leaves nothing behind that grows, and costs nobody else his
// total.
func TestOrdinaryVMsLeaveNoSeriesBehind(t *testing.T) {
	w := newWorld()
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "")
	w.totals[qemu] = 0
	m := w.start(t)
	m.Tick()
	w.pass(time.Second, watts, use(qemu, time.Second))
	m.Tick()
	w.vms = vmmap.NewMap(nil, "")
	w.pass(time.Hour, []energy.Watts{0, 0, 0}, nil)
	m.Tick()
	for i := range 30 {
		var fakes []vmmap.VM
		for j := range 50 {
			fakes = append(fakes, vmmap.VM{UUID: fmt.Sprintf("%08d-0000-0000-0000-%012d", i, j), Source: vmmap.FromArgv, Ordinary: true, State: vmmap.Running})
		}
		w.vms = vmmap.NewMap(fakes, "")
		w.pass(time.Second, watts, nil)
		m.Tick()
		if n := len(m.Latest().VMs) + len(m.Latest().FormerVMs); n != len(fakes) {
			t.Fatalf("%d series, want those of the %d that are there", n, len(fakes))
		}
		identity(t, m.Latest())
	}
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "")
	w.pass(time.Second, watts, nil)
	m.Tick()
	if s := m.Latest(); len(s.VMs) != 1 || s.VMs[0].Energy.Of(energy.Package) < 40*energy.Joule {
		t.Errorf("got %d VMs, the first has %v", len(s.VMs), s.VMs[0].Energy.Of(energy.Package))
	}
	if n := len(m.machines.retired); n != maxRetiredOrdinary {
		t.Errorf("%d totals are kept, want %d", n, maxRetiredOrdinary)
	}
}

// A user can give his VM another name every second.
func TestNamesOfAnOrdinaryVMAreBounded(t *testing.T) {
	w := newWorld()
	fake := aVM
	fake.Source, fake.Ordinary = vmmap.FromArgv, true
	w.totals[qemu] = 0
	m := w.start(t)
	m.Tick()
	seen := watcher{}
	const names = 50
	for i := range names {
		fake.Name = fmt.Sprint("name-", i)
		w.vms = vmmap.NewMap([]vmmap.VM{fake}, "")
		w.pass(time.Second, watts, use(qemu, time.Second))
		if i == names/2 {
			m = w.start(t)
		}
		m.Tick()
		s := m.Latest()
		identity(t, s)
		seen.see(t, s)
		if len(s.VMs) != 1 || len(s.FormerVMs) != 0 {
			t.Fatalf("%d and %d series, want that of the present name", len(s.VMs), len(s.FormerVMs))
		}
		all := s.VMs[0].Before
		all.Add(s.VMs[0].Energy)
		if got, want := all.Of(energy.Package), energy.Microjoules(i+1)*40*energy.Joule; got < want || got > want+names {
			t.Fatalf("its meter shows %v, want %v", got, want)
		}
	}
	if n := len(m.machines.retired[fake.UUID]); n > maxNames {
		t.Errorf("%d names are remembered", n)
	}
}

// What is known of VMs outlives a restart, and a reboot but for the processes.
func TestWhatIsKnownOfVMsIsKept(t *testing.T) {
	w := newWorld()
	vm := aVM
	vm.Title, vm.Share, vm.Publish, vm.Project, vm.State = "first", "virtiofs", "untrusted", "acme", vmmap.Paused
	fake := vmmap.VM{UUID: "bbbbbbbb-0000-0000-0000-000000000001", Name: "fake", Source: vmmap.FromArgv, Ordinary: true, Derived: true,
		State: vmmap.Running, Process: proc.ID{PID: 300, Start: 3}}
	gone := aVM
	gone.UUID = "cccccccc-0000-0000-0000-000000000001"
	w.vms = vmmap.NewMap([]vmmap.VM{vm, fake, gone}, "")
	m := w.start(t)
	m.Tick()
	w.vms = vmmap.NewMap([]vmmap.VM{vm, fake}, "")
	w.vms.Past = []vmmap.Past{{UUID: gone.UUID, Left: time.Unix(1_800_000_000, 0)}}
	w.pass(time.Second, watts, nil)
	m.Tick()

	w.vms = vmmap.NewMap(nil, "") // nothing was looked at yet
	w.vms.Complete = false
	m = w.start(t)
	if want := []vmmap.VM{vm, fake}; fmt.Sprint(w.restored) != fmt.Sprint(want) {
		t.Errorf("restored %+v, want %+v", w.restored, want)
	}
	if len(w.restoredPast) != 1 || w.restoredPast[0].UUID != gone.UUID || !w.restoredPast[0].Left.Equal(time.Unix(1_800_000_000, 0)) {
		t.Errorf("restored past %+v", w.restoredPast)
	}
	m.Tick()
	s := m.Latest()
	for i := range s.VMs {
		if want := s.VMs[i].UUID == vm.UUID; s.VMs[i].Present != want {
			t.Errorf("%s is present: %v", s.VMs[i].UUID, s.VMs[i].Present)
		}
	}
	w.bootID = "second"
	w.start(t)
	vm.Process = proc.ID{}
	if len(w.restored) != 1 || fmt.Sprint(w.restored[0]) != fmt.Sprint(vm) {
		t.Errorf("after a reboot %+v, want %+v", w.restored, vm)
	}
}

// A state of a version before is as good as one of this: 40 W and 5 W for a second and twenty
// minutes, a quarter and a half of the second for two VMs; a third has gone, and is remembered.
func TestVMsOfAnOlderState(t *testing.T) {
	for _, file := range []string{"testdata/state-2-vms"} {
		w := newWorld()
		var err error
		if w.kept, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		m := w.start(t)
		if len(w.restored) != 2 || w.restored[0].Name != "web" || w.restored[0].Ordinary || !w.restored[1].Ordinary {
			t.Errorf("%s: restored %+v", file, w.restored)
		}
		if len(w.restoredPast) != 1 || w.restoredPast[0].UUID != "aaaaaaaa-0000-0000-0000-000000000003" {
			t.Errorf("%s: restored past %+v", file, w.restoredPast)
		}
		m.Tick()
		s := m.Latest()
		identity(t, s)
		if len(s.Errors) > 0 || s.Host.Energy != 45*1201*energy.Joule {
			t.Errorf("%s: errors %v, host %v", file, s.Errors, s.Host.Energy)
		}
		w.pass(time.Second, watts, nil)
		m.Tick()
		again := w.start(t)
		again.Tick()
		if s := again.Latest(); len(s.Errors) > 0 {
			t.Errorf("%s: what it has become: %v", file, s.Errors)
		}
	}
}
