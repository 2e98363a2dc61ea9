package meter

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/rapl"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
)

// A world is a machine that a test drives: zones that count, processes that use CPU time, a clock. The
// machine outlives meters, so it can be metered by one after the other.
type world struct {
	zones    []energy.Zone
	counters []energy.Microjoules // raw, wrapped
	broken   map[int]bool         // zones that cannot be read
	given    []energy.Microjoules // by zone, unwrapped

	totals  map[proc.ID]uint64 // ns
	comms   map[proc.ID]string
	parents map[proc.ID]proc.ID
	ended   []proc.ID
	busy    uint64 // cumulative, all CPUs
	idle    uint64
	noCPU   bool // CPU time cannot be read

	boot      time.Duration
	asleep    time.Duration
	wall      time.Time
	bootID    string
	vms       *vmmap.Map
	vmFaults  uint64
	conflicts uint64

	restored     []vmmap.VM // what a meter told of an earlier one
	restoredPast []vmmap.Past
	noticed      []proc.ID // by the last tick that noticed any
	onNotice     func()

	kept  []byte // by the store
	ahead []byte // by the store, on its disk
	full  bool   // the store
}

const testRange = 100_000 * energy.Joule

func newWorld() *world {
	w := &world{
		broken: map[int]bool{}, totals: map[proc.ID]uint64{}, comms: map[proc.ID]string{},
		parents: map[proc.ID]proc.ID{},
		boot:    time.Hour, wall: time.Unix(1_800_000_000, 0), bootID: "first", vms: vmmap.NewMap(nil, ""),
	}
	for _, name := range []string{"package-0", "core", "dram"} {
		kind, _, _, _ := energy.ParseName(name)
		w.zones = append(w.zones, energy.Zone{
			Path: "intel-rapl:" + name, Name: name, Kind: kind, Die: -1, Range: testRange, Source: energy.SourcePowercap,
		})
	}
	w.counters = []energy.Microjoules{testRange - 50*energy.Joule, 5, 0}
	w.given = make([]energy.Microjoules, len(w.zones))
	return w
}

// pass lets time pass at so many watts in each zone, while processes use CPU time.
func (w *world) pass(d time.Duration, watts []energy.Watts, used map[proc.ID]time.Duration) {
	w.boot += d
	w.wall = w.wall.Add(d)
	for z := range w.zones {
		e := watts[z].Over(d)
		w.given[z] += e
		w.counters[z] = (w.counters[z] + e) % testRange
	}
	var busy time.Duration
	for id, t := range used {
		w.totals[id] += uint64(t)
		busy += t
	}
	w.busy += uint64(busy)
	w.idle += uint64(max(0, 4*d-busy))
}

func (w *world) end(id proc.ID) {
	w.ended = append(w.ended, id)
}

// worldSensor, worldCPU, worldClock and worldStore are what a meter sees of a world.
type worldSensor struct{ *world }

func (s worldSensor) Zones() []energy.Zone { return s.zones }

func (s worldSensor) Read(dst []energy.Reading) {
	for z := range s.zones {
		dst[z] = energy.Reading{Energy: s.counters[z]}
		if s.broken[z] {
			dst[z] = energy.Reading{Err: errors.New("input/output error")}
		}
	}
}

type worldCPU struct {
	*world
	base  cputime.Baseline
	known map[proc.ID]uint64 // the totals in base, nil before there are any
	names map[proc.ID]string // that Samples told
}

func (c *worldCPU) Name() string { return "test" }

func (c *worldCPU) Restore(b cputime.Baseline) {
	c.base, c.known = b, b.Totals()
}

func (c *worldCPU) Baseline() cputime.Baseline { return c.base }

func (c *worldCPU) Sample(s *cputime.Sample) error {
	if c.noCPU {
		return errors.New("no CPU time")
	}
	if c.names == nil {
		c.names = map[proc.ID]string{}
	}
	s.Processes = s.Processes[:0]
	s.Busy, s.Capacity, s.Unseen = []uint64{0}, []uint64{0}, []uint64{0}
	next := cputime.Baseline{BootID: c.bootID, Busy: []uint64{c.busy}, Idle: []uint64{c.idle}}
	var seen uint64
	for _, id := range slices.SortedFunc(maps.Keys(c.totals), func(a, b proc.ID) int { return int(a.PID - b.PID) }) {
		total := c.totals[id]
		p := cputime.Process{ID: id, Parent: c.parents[id], Comm: c.comms[id], Total: total, Delta: []uint64{0}}
		comm, named := c.names[id]
		p.Fresh = !named || comm != p.Comm
		if c.known != nil {
			p.Delta[0] = total - c.known[id]
		}
		seen += p.Delta[0]
		if slices.Contains(c.ended, id) {
			p.Exited = true
			delete(c.totals, id)
		} else {
			next.Processes = append(next.Processes, cputime.Reading{ID: id, Total: total})
		}
		if p.Exited || p.Delta[0] > 0 {
			c.names[id] = p.Comm
			s.Processes = append(s.Processes, p)
		}
	}
	if c.known != nil {
		s.Busy[0] = c.busy - c.base.Busy[0]
		s.Capacity[0] = s.Busy[0] + c.idle - c.base.Idle[0]
		s.Unseen[0] = s.Busy[0] - min(seen, s.Busy[0])
	}
	c.ended = nil
	c.base, c.known = next, next.Totals()
	return nil
}

type worldClock struct{ *world }

func (c worldClock) Now() time.Time      { return c.wall }
func (c worldClock) Boot() time.Duration { return c.boot }

func (c worldClock) Asleep() time.Duration { return c.asleep }

type worldVMs struct{ *world }

func (v worldVMs) Current() *vmmap.Map { return v.vms }
func (v worldVMs) Faults() uint64      { return v.vmFaults }
func (v worldVMs) Conflicts() uint64   { return v.conflicts }

func (v worldVMs) Restore(vms []vmmap.VM, past []vmmap.Past) {
	v.world.restored, v.world.restoredPast = vms, past
}

func (v worldVMs) Notice(ps []proc.ID) {
	if len(ps) > 0 {
		v.world.noticed = slices.Clone(ps)
	}
	if v.world.onNotice != nil {
		v.world.onNotice()
	}
}

type worldStore struct{ *world }

func (s worldStore) Save(b []byte) error {
	if s.full {
		return errors.New("no space left on device")
	}
	s.kept = slices.Clone(b)
	return nil
}

// worldDisk is a disk that answers at once.
type worldDisk struct {
	*world
	results chan error
}

func (d worldDisk) Reserve(b []byte) {
	d.ahead = slices.Clone(b)
	d.results <- nil
}

func (d worldDisk) Reserved() <-chan error { return d.results }

// start makes a meter, from what an earlier one kept.
func (w *world) start(t testing.TB) *Meter {
	t.Helper()
	m, err := New(w.options(), w.kept, w.ahead)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (w *world) options() Options {
	return Options{
		Sensor: worldSensor{w}, CPU: &worldCPU{world: w}, VMs: worldVMs{w},
		DomainOf: func(energy.Zone) int { return 0 }, CPUs: 4,
		MaxPower: rapl.MaxPower, Exe: func(int32) string { return "/bin/test" },
		Interval: time.Second, ScrapeInterval: 10 * time.Second, Idle: ledger.Shared, Listed: 3, BootID: w.bootID,
		State: worldStore{w}, Ahead: worldDisk{w, make(chan error, 1)}, Clock: worldClock{w}, Log: slog.New(slog.DiscardHandler),
	}
}

// identity holds a Snapshot against the identity of DESIGN's metrics: all that the zones gave is somebody's.
func identity(t testing.TB, s *snapshot.Snapshot) {
	t.Helper()
	if s.LedgerError != 0 {
		t.Errorf("tick %d: ledger error %d µJ", s.Seq, s.LedgerError)
	}
	if in, out := s.Host.Energy, accounted(s); in != out {
		t.Errorf("tick %d: zones gave %d µJ, accounts hold %d", s.Seq, in, out)
	}
}

func accounted(s *snapshot.Snapshot) (sum energy.Microjoules) {
	of := func(e *snapshot.Energies) energy.Microjoules { return e.Of(energy.Package) + e.Of(energy.DRAM) }
	for i := range s.VMs {
		sum += of(&s.VMs[i].Energy)
	}
	for i := range s.FormerVMs {
		sum += of(&s.FormerVMs[i].Energy)
	}
	for _, p := range s.Series {
		sum += p.Energy
	}
	for _, u := range s.Unattributed {
		sum += u.Energy
	}
	for _, k := range []energy.Kind{energy.Package, energy.DRAM} {
		sum += energy.Microjoules(s.Rebased[k])
	}
	return sum + of(&s.Rest) + of(&s.Retired.VMs) + of(&s.Retired.Processes)
}

// A watcher holds every counter of every Snapshot against its last value.
type watcher map[string]energy.Microjoules

func (w watcher) see(t testing.TB, s *snapshot.Snapshot) {
	t.Helper()
	now := watcher{}
	for _, z := range s.Zones {
		now["zone "+z.Path] = z.Total
	}
	for i := range s.VMs {
		vm := &s.VMs[i]
		for k := range vm.Energy {
			for p := range vm.Energy[k] {
				now["vm "+vm.UUID+vm.Name+energy.Kind(k).String()+snapshot.Part(p).String()] = vm.Energy[k][p]
			}
			now["meter "+vm.UUID+energy.Kind(k).String()] = vm.Energy.Of(energy.Kind(k)) + vm.Before.Of(energy.Kind(k))
		}
	}
	for i := range s.FormerVMs {
		vm := &s.FormerVMs[i]
		for k := range vm.Energy {
			for p := range vm.Energy[k] {
				now["vm "+vm.UUID+vm.Name+energy.Kind(k).String()+snapshot.Part(p).String()] = vm.Energy[k][p]
			}
		}
	}
	for _, p := range s.Series {
		now[fmt.Sprint("process ", p.PID, p.Comm, p.Exe)] = p.Energy
	}
	for _, u := range s.Unattributed {
		now["unattributed "+u.Kind.String()+u.Reason] = u.Energy
	}
	for k := range s.Rest {
		now["rest"+energy.Kind(k).String()] = s.Rest.Of(energy.Kind(k))
	}
	for name, value := range now {
		if value < w[name] {
			t.Errorf("tick %d: %s fell from %d to %d µJ", s.Seq, name, w[name], value)
		}
		w[name] = value
	}
	for name := range w {
		// The series of a process that went away may come back from 0, but that of a VM, and its own meter, never does.
		if _, there := now[name]; !there && name[:5] != "meter" && name[:3] != "vm " {
			delete(w, name)
		}
	}
}
