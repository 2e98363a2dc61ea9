package meter

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
)

// one returns the series of a process id, or fails.
func one(t *testing.T, s *snapshot.Snapshot, pid int32) snapshot.ProcessSeries {
	t.Helper()
	var found []snapshot.ProcessSeries
	for _, v := range s.Series {
		if v.PID == pid {
			found = append(found, v)
		}
	}
	if len(found) != 1 {
		t.Fatalf("tick %d: process %d has series %+v", s.Seq, pid, found)
	}
	return found[0]
}

func has(s *snapshot.Snapshot, pid int32) bool {
	for _, v := range s.Series {
		if v.PID == pid {
			return true
		}
	}
	return false
}

// The life of a series: at 0 for as long as it takes everybody to see that, counting, unchanged for as long as it takes
// to see its last value, retired.
func TestSeries(t *testing.T) {
	w := newWorld()
	w.totals[shell], w.comms[shell] = 0, "sh"
	m := w.start(t)
	m.Tick()
	second := func(used map[proc.ID]time.Duration) *snapshot.Snapshot {
		t.Helper()
		w.pass(time.Second, []energy.Watts{40, 0, 0}, used)
		m.Tick()
		identity(t, m.Latest())
		return m.Latest()
	}
	rest := func(s *snapshot.Snapshot) energy.Microjoules { return s.Rest.Of(energy.Package) }
	s := second(use(shell, time.Second))
	created := one(t, s, shell.PID).Created
	for i := range 10 {
		if v := one(t, s, shell.PID); v.Energy != 0 || rest(s) != energy.Microjoules(40*(i+1))*energy.Joule || v.Created != created {
			t.Fatalf("second %d: %v in the series, %v in the rest", i, v.Energy, rest(s))
		}
		s = second(use(shell, time.Second))
	}
	before := rest(s)
	for i := range 5 {
		s = second(use(shell, time.Second))
		if v := one(t, s, shell.PID); v.Energy != energy.Microjoules(40*(i+1))*energy.Joule || rest(s) != before {
			t.Fatalf("it counts for %d s: %v in the series, %v in the rest", i+1, v.Energy, rest(s)-before)
		}
	}
	w.end(shell)
	for i := range 19 {
		s = second(nil)
		if v := one(t, s, shell.PID); v.Energy != 200*energy.Joule || rest(s) != before {
			t.Fatalf("ended %d s ago: %v", i+1, v.Energy)
		}
	}
	for range 3 {
		s = second(nil)
	}
	if has(s, shell.PID) || s.Retired.Processes.Of(energy.Package) != 200*energy.Joule || rest(s) != before {
		t.Errorf("series %+v, retired %v, rest %v", s.Series, s.Retired.Processes.Of(energy.Package), rest(s))
	}
}

// A process that ends before its series counts never leaves the rest, and its series goes at once: it showed 0.
func TestSeriesOfAShortLife(t *testing.T) {
	w := newWorld()
	w.totals[shell] = 0
	m := w.start(t)
	m.Tick()
	for range 5 {
		w.pass(time.Second, watts, use(shell, time.Second))
		m.Tick()
	}
	w.end(shell)
	w.pass(time.Second, watts, use(shell, time.Second))
	m.Tick()
	s := m.Latest()
	identity(t, s)
	if len(s.Series) != 0 || s.Retired.Processes != (snapshot.Energies{}) || s.Rest.Of(energy.Package) != 240*energy.Joule {
		t.Errorf("series %+v, retired %v, rest %v", s.Series, s.Retired.Processes, s.Rest.Of(energy.Package))
	}
}

// counting returns a meter whose series of the process counts, and the step of a second.
func counting(t *testing.T, w *world, id proc.ID) (*Meter, func(used map[proc.ID]time.Duration) *snapshot.Snapshot) {
	t.Helper()
	m := w.start(t)
	seen, adds := watcher{}, newScraper(0)
	second := func(used map[proc.ID]time.Duration) *snapshot.Snapshot {
		t.Helper()
		w.pass(time.Second, []energy.Watts{40, 0, 0}, used)
		m.Tick()
		s := m.Latest()
		identity(t, s)
		seen.see(t, s)
		adds.scrape(s)
		if adds.parts != adds.zones || len(adds.problems) > 0 {
			t.Fatalf("tick %d: parts grew by %v, zones by %v; %v", s.Seq, adds.parts, adds.zones, adds.problems)
		}
		return s
	}
	for range 15 {
		second(use(id, time.Second))
	}
	if one(t, m.Latest(), id.PID).Energy == 0 {
		t.Fatal("the series does not count")
	}
	return m, second
}

// Another program under another name is another series; what the first has shown stays with it.
func TestSeriesOfAnotherName(t *testing.T) {
	w := newWorld()
	w.totals[shell], w.comms[shell] = 0, "sh"
	_, second := counting(t, w, shell)
	w.comms[shell] = "make"
	s := second(use(shell, time.Second))
	var names []string
	for _, v := range s.Series {
		names = append(names, fmt.Sprint(v.Comm, " ", v.Energy > 0))
	}
	if fmt.Sprint(names) != "[make false sh true]" {
		t.Errorf("series %v", names)
	}
	w.comms[shell] = "sh" // and back, while the old one is still shown
	second(use(shell, time.Second))
	s = second(use(shell, time.Second))
	if v := one(t, s, shell.PID); v.Comm != "sh" {
		t.Errorf("series %+v", s.Series)
	}
}

// A process id that is used again by a namesake goes on with the series, as its labels are the same.
func TestSeriesOfANamesake(t *testing.T) {
	w := newWorld()
	w.totals[shell], w.comms[shell] = 0, "sh"
	_, second := counting(t, w, shell)
	w.end(shell)
	next := proc.ID{PID: shell.PID, Start: 99}
	w.totals[next], w.comms[next] = 0, "sh"
	before := one(t, second(use(next, time.Second)), shell.PID).Energy
	second(use(next, time.Second))
	if v := one(t, second(use(next, time.Second)), shell.PID); v.Energy <= before {
		t.Errorf("the series of the namesake stands still at %v", v.Energy)
	}
}

// Names that are shown alike are one series.
func TestSeriesOfNamesShownAlike(t *testing.T) {
	w := newWorld()
	w.totals[shell], w.comms[shell] = 0, "a\x01"
	m := w.start(t)
	m.Options.Shown = func(string) string { return "a?" }
	seen := watcher{}
	m.Tick()
	for i := range 60 {
		w.comms[shell] = fmt.Sprintf("a%c", 1+i%2)
		w.pass(time.Second, watts, use(shell, time.Second))
		m.Tick()
		identity(t, m.Latest())
		seen.see(t, m.Latest())
		if v := one(t, m.Latest(), shell.PID); t.Failed() || i > 30 && v.Energy == 0 {
			t.Fatalf("second %d: %+v", i, v)
		}
	}
}

// More processes than places: nobody is listed and dropped in turn, and the choice costs what sorting costs.
func TestListIsSteady(t *testing.T) {
	w := newWorld()
	m := w.start(t)
	m.Tick()
	used := map[proc.ID]time.Duration{}
	for i := range int32(20) {
		id := proc.ID{PID: 400 + i, Start: 1}
		w.totals[id], used[id] = 0, 100*time.Millisecond+time.Duration(i)*time.Millisecond
	}
	created := map[int32]time.Time{}
	for i := range 300 {
		w.pass(time.Second, watts, used)
		m.Tick()
		if len(m.Latest().Series) != m.Options.Listed {
			t.Fatalf("%d series", len(m.Latest().Series))
		}
		for _, v := range m.Latest().Series {
			if i == 0 {
				created[v.PID] = v.Created
			} else if created[v.PID] != v.Created {
				t.Fatalf("second %d: process %d is listed newly", i, v.PID)
			}
		}
	}
	m.Options.Listed = 1 // a reload
	w.pass(time.Second, watts, used)
	m.Tick()
	if len(m.listed) != 1 {
		t.Errorf("%d are listed, want 1", len(m.listed))
	}
	identity(t, m.Latest())
}

// A VM under another name has another series, from 0; its own meter goes on.
func TestRenamedVM(t *testing.T) {
	w := newWorld()
	vm := aVM
	w.vms = vmmap.NewMap([]vmmap.VM{vm}, "")
	w.totals[qemu], w.totals[shell] = 0, 0
	m, second := counting(t, w, shell)
	second(use(qemu, time.Second))
	before := second(use(qemu, time.Second)).VMs[0]
	vm.Name = "web-2"
	w.vms = vmmap.NewMap([]vmmap.VM{vm}, "")
	s := second(use(qemu, time.Second))
	own := s.VMs[0].Energy.Of(energy.Package) + s.VMs[0].Before.Of(energy.Package)
	if len(s.FormerVMs) != 1 || s.FormerVMs[0].Energy != before.Energy || s.FormerVMs[0].Name != "web" ||
		s.VMs[0].Name != "web-2" || own != before.Energy.Of(energy.Package)+40*energy.Joule || s.VMs[0].CPU != time.Second {
		t.Errorf("VMs %+v, former %+v", s.VMs, s.FormerVMs)
	}
	for range 16 * 60 {
		second(nil)
	}
	s = m.Latest()
	if len(s.FormerVMs) != 0 || s.Retired.VMs != before.Energy || s.VMs[0].Before != before.Energy {
		t.Errorf("16 minutes later: former %+v, retired %v, before %v", s.FormerVMs, s.Retired.VMs, s.VMs[0].Before)
	}
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "") // its first name again
	s = second(use(qemu, time.Second))
	const moved = 1000 // 1 µJ a tick
	if s.VMs[0].Before.Of(energy.Package)-40*energy.Joule > moved || s.VMs[0].Energy.Of(energy.Package) != before.Energy.Of(energy.Package)+40*energy.Joule {
		t.Errorf("renamed back: %v, %v before", s.VMs[0].Energy, s.VMs[0].Before)
	}
	m = w.start(t)
	w.pass(time.Second, watts, nil)
	m.Tick()
	if got := m.Latest().VMs[0]; got.Energy.Of(energy.Package) < s.VMs[0].Energy.Of(energy.Package) ||
		got.Before != s.VMs[0].Before || !got.Created.Equal(s.VMs[0].Created) {
		t.Errorf("after a restart: %+v, was %+v", got, s.VMs[0])
	}
	identity(t, m.Latest())
}

// A state of version 2 goes on: every total, and the meter of a VM that had been gone.
func TestStateOfVersion2(t *testing.T) {
	b, err := os.ReadFile("testdata/state-2")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	w.kept = b
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "")
	m := w.start(t)
	w.noCPU = true // as it was
	m.Tick()
	s := m.Latest()
	identity(t, s)
	if len(s.Errors) != 1 || s.Errors[0].Component != "cputime" {
		t.Errorf("errors %v", s.Errors)
	}
	vm := s.VMs[0]
	if s.Host.Energy != 180*energy.Joule || vm.Energy.Of(energy.Package) != 30_000_001 || vm.Before.Of(energy.Package) != 20*energy.Joule ||
		vm.CPU != 2*time.Second || one(t, s, shell.PID).Energy != 78_749_999 {
		t.Errorf("host %v, snapshot.VM %+v, series %+v", s.Host, vm, s.Series)
	}
	w.noCPU = false
	m.Tick()
	if w.kept[len(stateMagic)] != '0'+stateVersion {
		t.Errorf("written again as %q", w.kept[:len(stateMagic)+1])
	}
}

// Of two states the newer is used, wherever it lies: /run may have been full.
func TestNewestState(t *testing.T) {
	w := newWorld()
	m := w.start(t)
	m.Tick()
	w.pass(time.Second, watts, nil)
	m.Tick()
	older := w.kept
	w.pass(time.Second, watts, nil)
	m.Tick()
	newer := w.kept
	for _, states := range [][][]byte{{older, newer}, {newer, older}} {
		m, err := New(w.options(), states...)
		if err != nil {
			t.Fatal(err)
		}
		m.Tick()
		if got := m.Latest().Host.Energy; got != 90*energy.Joule {
			t.Errorf("host shows %v, want 90 J", got)
		}
	}
}

// A disk that does not answer delays no tick. What it does not have yet is not shown, for a while; then it is shown all the
// same, and counted.
func TestSilentDisk(t *testing.T) {
	w := newWorld()
	m := w.start(t)
	m.Tick()
	disk := &silentDisk{results: make(chan error, 1)}
	m.Ahead = disk
	shown := 0
	for i := range 30 {
		w.pass(time.Second, watts, nil)
		before := m.Latest()
		m.Tick()
		if m.Latest() != before {
			shown++
		} else if i > 12 {
			t.Fatalf("nothing is shown %d s after the disk fell silent", i)
		}
	}
	if s := m.Latest(); shown < 15 || shown > 25 || disk.asked != 1 || len(s.Errors) != 1 || s.Errors[0] != (snapshot.ErrorCount{Component: "state", Count: 1}) {
		t.Errorf("%d of 30 ticks shown, the disk was asked %d times, errors %v", shown, disk.asked, m.Latest().Errors)
	}
	disk.results <- nil // it has answered at last
	w.pass(time.Second, watts, nil)
	m.Tick()
	if m.reserve.failed {
		t.Error("the disk answered, and is not used again")
	}
	disk.results <- errors.New("no space left on device")
	w.pass(time.Second, watts, nil)
	m.Tick()
	if s := m.Latest(); s.Host.Energy != w.given[0]+w.given[2] || !m.reserve.failed {
		t.Errorf("with a full disk the host shows %v of %v", s.Host.Energy, w.given[0]+w.given[2])
	}
}

// Nor does it delay the first tick after a reload, as the first tick of a process waits for it.
func TestSilentDiskAtAReload(t *testing.T) {
	w := newWorld()
	o := w.options()
	disk := &silentDisk{results: make(chan error, 1)}
	o.Ahead, o.Succeeds = disk, true
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	m.Tick()
	w.pass(time.Second, watts, nil)
	m.Tick()
	if took := time.Since(began); took >= patience || disk.asked != 1 {
		t.Errorf("two ticks took %v", took)
	}
	disk.results <- nil
	for range 2 {
		w.pass(time.Second, watts, nil)
		m.Tick()
	}
	if m.Latest() == nil {
		t.Error("nothing is shown when the disk has answered")
	}
}

type silentDisk struct {
	asked   int
	results chan error
}

func (d *silentDisk) Reserve([]byte)         { d.asked++ }
func (d *silentDisk) Reserved() <-chan error { return d.results }
