package meter

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
)

var (
	watts = []energy.Watts{40, 15, 5}
	qemu  = proc.ID{PID: 100, Start: 1}
	shell = proc.ID{PID: 200, Start: 2}
	other = proc.ID{PID: 300, Start: 3}
	aVM   = vmmap.VM{
		UUID: "aaaaaaaa-0000-0000-0000-000000000001", Name: "web", VCPUs: 2, State: vmmap.Running,
		Source: vmmap.FromLibvirt, Process: proc.ID{PID: 100, Start: 1},
	}
)

func use(pairs ...any) map[proc.ID]time.Duration {
	used := map[proc.ID]time.Duration{}
	for i := 0; i < len(pairs); i += 2 {
		used[pairs[i].(proc.ID)] = pairs[i+1].(time.Duration)
	}
	return used
}

func TestFirstTickStartsAtZero(t *testing.T) {
	w := newWorld()
	m := w.start(t)
	m.Tick()
	s := m.Latest()
	if s.Host.Energy != 0 || s.Host.Power != 0 {
		t.Errorf("first tick shows %v at %v: what RAPL counted before is nobody's", s.Host.Energy, s.Host.Power)
	}
	identity(t, s)
}

// The energy of a tick goes to the VM and to the process by their CPU time; core is shown, not added.
func TestCharge(t *testing.T) {
	w := newWorld()
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "libvirt")
	w.totals[qemu], w.totals[shell], w.comms[shell] = 0, 0, "sh"
	m := w.start(t)
	m.Tick()
	w.pass(time.Second, watts, use(qemu, 3*time.Second, shell, time.Second))
	m.Tick()
	s := m.Latest()
	identity(t, s)
	if got := s.VMs[0].Energy.Of(energy.Package); got != 30*energy.Joule {
		t.Errorf("VM holds %v of the package, want three quarters of 40 J", got)
	}
	if got := s.VMs[0].Energy.Of(energy.Core); got != 11_250_000 {
		t.Errorf("VM holds %v of core, want three quarters of 15 J", got)
	}
	if got := s.VMs[0].Power; got < 33.74 || got > 33.76 {
		t.Errorf("VM draws %v, want 33.75 W: package and dram, not core", got)
	}
	if s.VMs[0].CPU != 3*time.Second {
		t.Errorf("VM used %v of CPU time", s.VMs[0].CPU)
	}
	if got := s.Host.Energy; got != 45*energy.Joule {
		t.Errorf("host used %v, want 45 J", got)
	}
}

// Invariants 1 and 2 over a random life: processes and VMs come and go, zones fail and wrap, CPU time fails,
// the program is killed and started again, the machine is rebooted.
func TestLife(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			life(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

func life(t *testing.T, rng *rand.Rand) {
	w := newWorld()
	m := w.start(t)
	seen := watcher{}
	next := int32(1000)
	vms := map[int]vmmap.VM{}
	for range 4000 {
		if len(w.totals) < 20 {
			id := proc.ID{PID: next, Start: uint64(next)}
			next++
			w.totals[id], w.comms[id] = 0, fmt.Sprint("process-", next)
			if rng.IntN(3) == 0 {
				vm := aVM
				n := rng.IntN(5)
				vm.UUID = fmt.Sprintf("aaaaaaaa-0000-0000-0000-00000000000%d", n)
				vm.Process = proc.ID{PID: id.PID, Start: id.Start}
				if n == 4 { // a user's own
					vm.Source, vm.Ordinary = vmmap.FromArgv, true
				}
				vms[n] = vm
			}
		}
		if rng.IntN(10) == 0 {
			delete(vms, rng.IntN(5))
		}
		var list []vmmap.VM
		for _, vm := range vms {
			list = append(list, vm)
		}
		if rng.IntN(4) == 0 {
			w.vms = vmmap.NewMap(list, "")
		}
		used := map[proc.ID]time.Duration{}
		for id := range w.totals {
			if rng.IntN(2) == 0 {
				used[id] = time.Duration(rng.Int64N(int64(time.Second)))
			}
			if rng.IntN(20) == 0 {
				w.end(id)
			}
		}
		w.broken[0], w.broken[2] = rng.IntN(8) == 0, rng.IntN(8) == 0
		w.noCPU = rng.IntN(12) == 0
		w.full = false
		step := time.Duration(1+rng.IntN(1000)) * time.Millisecond
		if rng.IntN(300) == 0 {
			step = 20 * time.Minute // long enough for VMs to be given up; zones wrap many times
		}
		w.pass(step, []energy.Watts{energy.Watts(rng.IntN(90)), 10, 3}, used)
		switch rng.IntN(60) {
		case 0: // killed and started again
			m = w.start(t)
		case 1: // rebooted
			w.bootID += "x"
			w.totals = map[proc.ID]uint64{}
			vms = map[int]vmmap.VM{}
			w.ended = nil
			m = w.start(t)
		}
		m.Tick()
		s := m.Latest()
		identity(t, s)
		seen.see(t, s)
		if t.Failed() {
			t.FailNow()
		}
	}
}

// Invariant 3: after SIGKILL the whole gap is charged, by the CPU time of the gap, wraps included.
func TestRestartIsALongTick(t *testing.T) {
	w := newWorld()
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "")
	w.totals[qemu], w.totals[shell] = 0, 0
	m := w.start(t)
	m.Tick()
	seen := watcher{}
	for range 20 {
		for range 5 {
			w.pass(time.Second, watts, use(qemu, time.Second, shell, time.Second))
			m.Tick()
			seen.see(t, m.Latest())
		}
		m = w.start(t) // the old one is just gone
		w.pass(7*time.Second, watts, use(qemu, 3*time.Second, shell, time.Second))
		m.Tick()
		s := m.Latest()
		identity(t, s)
		seen.see(t, s)
		if s.Host.Energy != w.given[0]+w.given[2] {
			t.Fatalf("zones gave %v, host shows %v: a restart lost energy", w.given[0]+w.given[2], s.Host.Energy)
		}
	}
	// 20 × (5 s × half of 40 W + 7 s × three quarters of 40 W)
	got, want := m.Latest().VMs[0].Energy.Of(energy.Package), 20*(5*20+7*30)*energy.Joule
	if got < want-100 || got > want+100 {
		t.Errorf("VM holds %v, want %v", got, want)
	}
}

// After a reboot counters begin anew, and the VM's total goes on.
func TestReboot(t *testing.T) {
	w := newWorld()
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "")
	w.totals[qemu] = 0
	m := w.start(t)
	m.Tick()
	w.pass(time.Second, watts, use(qemu, time.Second))
	m.Tick()
	before := m.Latest().VMs[0].Energy
	w.bootID, w.counters, w.boot = "second", []energy.Microjoules{3, 2, 1}, time.Minute
	w.busy, w.idle = 0, 0
	w.totals = map[proc.ID]uint64{qemu: 5}
	m = w.start(t)
	m.Tick()
	if got := m.Latest().VMs[0].Energy; got != before {
		t.Errorf("VM holds %v right after the reboot, want %v as before", got, before)
	}
	w.pass(time.Second, watts, use(qemu, time.Second))
	m.Tick()
	if got := m.Latest().VMs[0].Energy.Of(energy.Package); got != before.Of(energy.Package)+40*energy.Joule {
		t.Errorf("VM holds %v of the package a second later", got)
	}
	identity(t, m.Latest())
}

func TestStateThatCannotBeUsed(t *testing.T) {
	w := newWorld()
	m := w.start(t)
	m.Tick()
	w.pass(time.Second, watts, nil)
	m.Tick()
	good := w.kept
	for name, bad := range map[string][]byte{
		"cut off": good[:len(good)/2], "one bit": flip(good), "garbage": []byte("hello"), "another version": append([]byte("scaph state 0\n"), good...),
	} {
		w.kept, w.ahead = bad, nil
		s := func() *snapshot.Snapshot { m := w.start(t); m.Tick(); return m.Latest() }()
		if len(s.Errors) != 1 || s.Errors[0] != (snapshot.ErrorCount{Component: "state", Count: 1}) {
			t.Errorf("%s: errors %v, want one of state", name, s.Errors)
		}
	}
	// A damaged newest state: the older one is used.
	m, err := New(w.start(t).Options, flip(good), good)
	if err != nil {
		t.Fatal(err)
	}
	m.Tick()
	if got := m.Latest().Host.Energy; got != 45*energy.Joule {
		t.Errorf("host shows %v, want the 45 J of the older state", got)
	}
}

func flip(b []byte) []byte {
	c := append([]byte(nil), b...)
	c[len(c)/2] ^= 4
	return c
}

// A full disk is counted and logged, and metering goes on.
func TestFullDisk(t *testing.T) {
	w := newWorld()
	m := w.start(t)
	m.Tick()
	w.full = true
	w.pass(time.Second, watts, nil)
	m.Tick()
	if s := m.Latest(); s.Host.Energy != 45*energy.Joule || len(s.Errors) != 1 || s.Errors[0].Component != "state" {
		t.Errorf("host %v, errors %v", s.Host.Energy, s.Errors)
	}
}

// The state is saved before a Snapshot that it covers can be seen.
func TestStateIsSavedFirst(t *testing.T) {
	w := newWorld()
	m := w.start(t)
	saves := uint64(0)
	m.State = saver(func() {
		saves++
		if s := m.Latest(); s != nil && s.Seq >= saves {
			t.Errorf("at save %d, snapshot.Snapshot %d was published already", saves, s.Seq)
		}
	})
	for range 3 {
		m.Tick()
		w.pass(time.Second, watts, nil)
	}
}

type saver func()

func (s saver) Save([]byte) error { s(); return nil }

// A VM that nobody knows any more keeps its series for 15 minutes; then its total is retired, and should it
// come back, its series and its own meter go on.
func TestGoneVM(t *testing.T) {
	w := newWorld()
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "")
	w.totals[qemu] = 0
	m := w.start(t)
	m.Tick()
	w.pass(time.Second, watts, use(qemu, time.Second))
	m.Tick()
	w.end(qemu)
	w.vms = vmmap.NewMap(nil, "")
	w.pass(14*time.Minute, []energy.Watts{0, 0, 0}, nil)
	m.Tick()
	if n := len(m.Latest().VMs); n != 1 {
		t.Fatalf("%d VMs after 14 minutes, want 1", n)
	}
	w.pass(2*time.Minute, []energy.Watts{0, 0, 0}, nil)
	m.Tick()
	s := m.Latest()
	if len(s.VMs) != 0 || s.Retired.VMs.Of(energy.Package) != 40*energy.Joule {
		t.Errorf("%d VMs, %v retired; want none and 40 J", len(s.VMs), s.Retired.VMs.Of(energy.Package))
	}
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "")
	m = w.start(t) // even after a restart
	m.Tick()
	s = m.Latest()
	if s.VMs[0].Energy.Of(energy.Package) != 40*energy.Joule || s.VMs[0].Before != (snapshot.Energies{}) || s.Retired.VMs != (snapshot.Energies{}) {
		t.Errorf("the snapshot.VM that came back has %v and %v before", s.VMs[0].Energy.Of(energy.Package), s.VMs[0].Before.Of(energy.Package))
	}
	identity(t, s)
}

// A counter that jumps is not energy.
func TestReset(t *testing.T) {
	w := newWorld()
	m := w.start(t)
	m.Tick()
	w.pass(time.Second, watts, nil)
	m.Tick()
	w.counters[0] = testRange / 2 // the driver was loaded again
	w.pass(time.Second, []energy.Watts{0, 15, 5}, nil)
	m.Tick()
	s := m.Latest()
	if s.Zones[0].Resets != 1 || s.Zones[0].Total != 40*energy.Joule {
		t.Errorf("resets %d, total %v; want 1 and 40 J", s.Zones[0].Resets, s.Zones[0].Total)
	}
	identity(t, s)
}

// A zone that fails does not stop the others, and is charged later.
func TestUnreadableZone(t *testing.T) {
	w := newWorld()
	w.totals[shell] = 0
	m := w.start(t)
	m.Tick()
	w.broken[0] = true
	w.pass(time.Second, watts, use(shell, time.Second))
	m.Tick()
	s := m.Latest()
	if !s.Zones[0].Failed || s.Zones[0].Total != 0 || s.Zones[2].Total != 5*energy.Joule {
		t.Errorf("failed %v, package %v, dram %v", s.Zones[0].Failed, s.Zones[0].Total, s.Zones[2].Total)
	}
	w.broken[0] = false
	w.pass(time.Second, watts, use(shell, time.Second))
	m.Tick()
	if s = m.Latest(); s.Zones[0].Total != 80*energy.Joule || s.Zones[0].Failed {
		t.Errorf("package %v after it could be read again, want 80 J", s.Zones[0].Total)
	}
	if len(s.Errors) != 1 || s.Errors[0] != (snapshot.ErrorCount{Component: "sensor", Count: 1}) {
		t.Errorf("errors %v, want one of sensor", s.Errors)
	}
	identity(t, s)
}

// Busy time that no process explains is unseen, and is not spread over the others.
func TestUnseen(t *testing.T) {
	w := newWorld()
	w.totals[shell] = 0
	m := w.start(t)
	m.Tick()
	w.pass(time.Second, watts, use(shell, time.Second))
	w.busy += uint64(time.Second)
	m.Tick()
	for _, u := range m.Latest().Unattributed {
		if u.Kind == energy.Package && u.Reason == "unseen" && u.Energy != 20*energy.Joule {
			t.Errorf("unseen %v, want half of 40 J", u.Energy)
		}
	}
}

// What the lookup of virtual machines could not read is counted with the rest.
func TestFaultsOfTheLookup(t *testing.T) {
	w := newWorld()
	w.vmFaults, w.conflicts = 3, 2
	m := w.start(t)
	m.Tick()
	if s := m.Latest(); len(s.Errors) != 1 || s.Errors[0] != (snapshot.ErrorCount{Component: "vmmap", Count: 3}) || s.Conflicts != 2 {
		t.Errorf("errors %v and %d conflicts, want 3 of vmmap and 2", s.Errors, s.Conflicts)
	}
}

// What a machine's processes start belongs to it, though it is over before the lookup of machines can have seen it.
func TestShortLivedChildOfAMachine(t *testing.T) {
	w := newWorld()
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "")
	w.totals[qemu], w.totals[shell] = 0, 0
	m := w.start(t)
	m.Tick()
	child, grandchild := proc.ID{PID: 400, Start: 40}, proc.ID{PID: 350, Start: 41} // told before its parent
	stranger := proc.ID{PID: 500, Start: 50}
	w.parents[child], w.parents[grandchild] = qemu, child
	w.parents[stranger] = proc.ID{PID: qemu.PID, Start: 45} // which had the id after the machine's process
	w.pass(time.Second, watts, use(child, time.Second, grandchild, time.Second, stranger, time.Second, shell, time.Second))
	w.end(child)
	w.end(stranger)
	m.Tick()
	s := m.Latest()
	identity(t, s)
	if got, want := s.VMs[0].Energy.Of(energy.Package), 20*energy.Joule; got < want-10 || got > want+10 {
		t.Errorf("the machine holds %v of the package, want %v", got, want)
	}
	if len(s.Processes) != 1 || s.Processes[0].PID != shell.PID || s.VMs[0].CPU != 2*time.Second {
		t.Errorf("CPU time of the machine %v, processes %+v", s.VMs[0].CPU, s.Processes)
	}
	w.pass(time.Second, watts, use(grandchild, time.Second)) // its parent is no more
	w.end(grandchild)
	m.Tick()
	if s := m.Latest(); s.VMs[0].CPU != 3*time.Second || m.machines.adopted.Len() != 0 {
		t.Errorf("CPU time of the machine %v; %d processes are still adopted", s.VMs[0].CPU, m.machines.adopted.Len())
	}
	identity(t, m.Latest())
}

// A process that ended while no meter ran is told by nobody: it must not stay on the list for ever.
func TestProcessThatEndedInTheGap(t *testing.T) {
	w := newWorld()
	w.totals[shell], w.totals[other] = 0, 0
	m := w.start(t)
	m.Tick()
	w.pass(time.Second, watts, use(shell, time.Second, other, time.Second))
	m.Tick()
	seen := watcher{}
	seen.see(t, m.Latest())
	m = w.start(t)
	delete(w.totals, shell)
	for range 2 {
		w.pass(time.Second, watts, use(other, time.Second))
		m.Tick()
		s := m.Latest()
		identity(t, s)
		if len(s.Processes) != 1 || s.Processes[0].PID != other.PID {
			t.Errorf("tick %d lists %+v", s.Seq, s.Processes)
		}
		seen.see(t, s)
	}
}

// A process without a series of its own moves to the rest when it has been idle for a minute, and is metered as before
// when it runs again.
func TestIdleProcess(t *testing.T) {
	w := newWorld()
	m := w.start(t)
	m.Options.Listed = 1
	m.Options.ScrapeInterval = -m.Interval // count at once
	w.totals[shell], w.totals[other] = 0, 0
	m.Tick()
	seen := watcher{}
	second := func(used map[proc.ID]time.Duration) {
		t.Helper()
		w.pass(time.Second, watts, used)
		m.Tick()
		identity(t, m.Latest())
		seen.see(t, m.Latest())
	}
	second(use(shell, time.Second, other, 500*time.Millisecond))
	w.broken[0] = true // what could not be settled while it had an account is settled all the same
	second(use(shell, time.Second, other, 500*time.Millisecond))
	for range 59 {
		second(use(shell, time.Second))
	}
	if len(m.accounts) != 2 {
		t.Fatalf("%d accounts", len(m.accounts))
	}
	second(use(shell, time.Second))
	if len(m.accounts) != 1 {
		t.Errorf("%d accounts after a minute, want that of the listed process", len(m.accounts))
	}
	w.broken[0] = false
	before := m.Latest().Rest
	second(use(shell, time.Second, other, 500*time.Millisecond))
	// 62 s at 40 W, of which the process used 0.5 s at the beginning and 0.5 s at the end, beside the 62 s of the other.
	gain, want := m.Latest().Rest.Of(energy.Package)-before.Of(energy.Package), 62*40*energy.Joule/63
	if gain < want-10 || gain > want+10 {
		t.Errorf("the rest gained %v of the package, want %v", gain, want)
	}
	if s := m.Latest(); len(s.Processes) != 2 || s.Processes[1].CPU != 1500*time.Millisecond {
		t.Errorf("it runs again: %+v", s.Processes)
	}
}

// Next wakes all who wait, and a consumer who never comes back costs nothing.
func TestNext(t *testing.T) {
	w := newWorld()
	m := w.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan uint64, 2)
	for range 2 {
		go func() { got <- m.Next(ctx, 0).Seq }()
	}
	m.Tick()
	for range 2 {
		if seq := <-got; seq != 1 {
			t.Errorf("woken with %d", seq)
		}
	}
	cancel()
	if s := m.Next(ctx, 1); s != nil {
		t.Errorf("a done context gives snapshot.Snapshot %d", s.Seq)
	}
}

// What a tick allocates does not grow with processes that sleep.
func TestNoAllocationPerProcess(t *testing.T) {
	allocations := func(n int) float64 {
		w := newWorld()
		w.kept = nil
		m := w.start(t)
		m.State = nil
		m.CPU = &still{n: n}
		m.Tick()
		return testing.AllocsPerRun(20, func() {
			w.boot += time.Second
			w.counters[0] += 1000
			m.Tick()
		})
	}
	if few, many := allocations(10), allocations(5000); many > few {
		t.Errorf("%v allocations with 5000 processes, %v with 10", many, few)
	}
}

// still is a source of n processes, all of which run in the first Sample, and two in those after it.
type still struct{ n int }

func (s *still) Name() string               { return "still" }
func (s *still) Restore(cputime.Baseline)   {}
func (s *still) Baseline() cputime.Baseline { return cputime.Baseline{} }
func (s *still) Sample(out *cputime.Sample) error {
	out.Reset(1)
	for i := range s.n {
		p := out.Append(1)
		p.PID, p.Comm, p.Delta[0] = int32(i+1), "x", 1000
	}
	out.Busy[0], out.Capacity[0] = uint64(s.n)*1000, 1e9
	s.n = 2
	return nil
}

func FuzzState(f *testing.F) {
	w := newWorld()
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "")
	w.totals[qemu], w.totals[shell] = 0, 0
	m := w.start(f)
	m.Tick()
	w.pass(time.Second, watts, use(qemu, time.Second, shell, time.Second))
	m.Tick()
	f.Add(w.kept)
	f.Add([]byte(stateMagic + "3\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4 {
			e := encoder{b: append([]byte(nil), b[:len(b)-4]...)}
			_, _ = parseState(e.seal()) // past the checksum
		}
		_, _ = parseState(b)
	})
}

// A start so slow that nothing was looked at yet takes no VM away, by whatever rung it was known.
func TestBlindMapTakesNothingAway(t *testing.T) {
	w := newWorld()
	known := vmmap.NewMap(nil, "")
	for i, source := range []vmmap.Source{vmmap.FromLibvirt, vmmap.FromRuntime, vmmap.FromArgv} {
		vm := aVM
		vm.UUID, vm.Name, vm.Source = strings.TrimSuffix(aVM.UUID, "1")+strconv.Itoa(i+1), "web"+strconv.Itoa(i), source
		vm.Process = proc.ID{PID: int32(100 + i), Start: 1}
		known.VMs = append(known.VMs, vm)
	}
	w.vms = vmmap.NewMap(known.VMs, "")
	w.totals[qemu] = 0
	m := w.start(t)
	m.Tick()
	present := func() (n int) {
		for _, vm := range m.Latest().VMs {
			if vm.Present && vm.State == string(vmmap.Running) {
				n++
			}
		}
		return n
	}
	if n := present(); n != 3 {
		t.Fatalf("%d VMs before the restart", n)
	}
	mapper := vmmap.New(vmmap.Config{Procfs: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	w.vms = mapper.Current()
	m = w.start(t)
	for range 3 {
		w.pass(time.Second, watts, use(shell, time.Second))
		m.Tick()
		if n := present(); n != 3 {
			t.Fatalf("%d VMs while nothing was looked at yet", n)
		}
	}
	w.vms = vmmap.NewMap(nil, "looked")
	w.pass(time.Second, watts, use(shell, time.Second))
	m.Tick()
	if n := present(); n != 0 {
		t.Errorf("%d VMs that are not there", n)
	}
}
