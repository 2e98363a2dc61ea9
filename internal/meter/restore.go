package meter

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
)

// A saved is a decoded state.
type saved struct {
	generation uint64
	ahead      bool // its counters are ceilings
	sameBoot   bool
	created    time.Time
	exposed    time.Duration
	zones      []savedZone
	fixed      [ledger.FixedRows][]row // by fixed row, by saved zone
	machines   []machine
	series     []savedVMSeries
	retired    map[string][]retired
	processes  []savedSeries
	baseline   cputime.Baseline
	past       []vmmap.Past
	basis      savedBasis
	unsplit    []savedUnsplit
}

// A row is what an account holds of one zone.
type row [snapshot.Parts]energy.Microjoules

type savedVMSeries struct {
	vmSeries
	current bool
	rows    []row
}

type savedSeries struct {
	series
	lives bool
	of    process
	rows  []row
}

// decode reads the newest of the states that can be used; nil where none can. Of two that are as new, the
// first is taken.
func (m *Meter) decode(states [][]byte) (newest *saved) {
	for _, b := range states {
		if len(b) == 0 {
			continue
		}
		s, err := parseState(b)
		if err != nil {
			m.Log.Error("a state of the last run cannot be used", "error", err)
			m.count("state", 1)
			continue
		}
		if newest != nil && s.generation > newest.generation {
			m.Log.Warn("the state of the last tick was not saved; the newer one on disk is used",
				"generation", newest.generation, "newer", s.generation)
			m.count("state", 1)
		}
		if newest == nil || s.generation > newest.generation {
			newest = s
		}
	}
	if newest == nil {
		return nil
	}
	newest.sameBoot = newest.baseline.BootID != "" && newest.baseline.BootID == m.BootID
	if newest.ahead {
		m.Log.Warn("the end of the last run was not saved; counters go on from where they may have been")
		m.count("state", 1)
	}
	return newest
}

func parseState(b []byte) (*saved, error) {
	head, _, _ := bytes.Cut(b[:min(len(b), len(stateMagic)+4)], []byte("\n"))
	number, found := bytes.CutPrefix(head, []byte(stateMagic))
	version, err := strconv.Atoi(string(number))
	if !found || err != nil || version < oldestVersion || version > stateVersion {
		return nil, errors.New("it was not written by this version of the program")
	}
	d := unseal(b)
	d.version = version
	d.skip(len(head) + 1)
	s := &saved{retired: make(map[string][]retired)}
	if version >= 3 {
		s.generation, s.ahead = d.uint(), d.bool()
		s.created, s.exposed = d.time(), time.Duration(d.uint())
	}
	s.baseline.BootID = d.string()
	for range d.count() {
		s.zones = append(s.zones, d.zone(energy.Kinds-1))
	}
	if version == 2 {
		d.accounts2(s)
	} else {
		d.accounts(s)
	}
	d.baseline(&s.baseline)
	if version == 2 {
		s.identities2()
		return s, d.err
	}
	for range d.count() {
		s.past = append(s.past, vmmap.Past{UUID: d.string(), Left: d.time()})
	}
	s.basis = d.basis()
	if version >= 4 {
		s.unsplit = d.unsplit()
	}
	return s, d.err
}

func (d *decoder) accounts(s *saved) {
	zones := len(s.zones)
	for i := range s.fixed {
		s.fixed[i] = d.rows(zones)
	}
	for range d.count() {
		s.machines = append(s.machines, d.machine())
	}
	for range d.count() {
		s.series = append(s.series, d.vmSeries(zones))
	}
	for range d.count() {
		uuid := d.string()
		for range d.count() {
			s.retired[uuid] = append(s.retired[uuid], d.retired(zones))
		}
	}
	for range d.count() {
		s.processes = append(s.processes, d.series(zones))
	}
}

// restore goes on from a decoded state.
func (m *Meter) restore(s *saved) {
	if s == nil {
		return
	}
	index := make([]int, len(s.zones)) // of the saved zones, in the ledger
	for i, old := range s.zones {
		z := m.zoneLike(old.Zone)
		index[i] = z.index
		if !z.floor.Fixed {
			z.floor.Watts = old.floor
		}
		z.restore(&old)
		if s.sameBoot {
			z.resume(&old, m.Clock.Asleep())
			if old.agreed > 0 && z.mirror.first != nil {
				z.mirror.agreed = int(min(old.agreed, sureMirror))
				m.takeForMirror(z)
			}
		}
	}
	m.restoreUnsplit(s)
	open := func(slot ledger.Slot, rows []row) {
		for i, r := range rows {
			m.ledger.Add(slot, index[i], r[snapshot.Active], r[snapshot.Idle])
		}
	}
	ordered := func(rows []row) []row { // as the ledger has them
		all := make([]row, len(m.zones))
		for i, r := range rows {
			all[index[i]] = r
		}
		return all
	}
	for slot, rows := range s.fixed {
		open(ledger.Slot(slot), rows)
	}
	for uuid, all := range s.retired {
		for i := range all {
			all[i].rows = ordered(all[i].rows)
		}
		m.machines.retired[uuid] = all
	}
	m.restoreVMs(s, open)
	for i := range s.processes {
		m.restoreSeries(&s.processes[i], s.sameBoot, open)
	}
	m.restoreBasis(&s.basis)
	m.generation, m.created, m.exposed = s.generation, s.created, s.exposed
	if s.sameBoot {
		m.CPU.Restore(s.baseline)
		m.restored = true
	}
}

func (m *Meter) restoreVMs(s *saved, open func(ledger.Slot, []row)) {
	for i := range s.machines {
		a := &s.machines[i]
		a.past = m.pastOf(a.UUID)
		m.machines.byUUID[a.UUID] = a
	}
	for i := range s.series {
		old := &s.series[i]
		v := old.vmSeries
		v.slot, v.ceilings = m.ledger.Open(), m.newCeilings()
		open(v.slot, old.rows)
		v.machine = m.machines.byUUID[v.uuid]
		v.uuid = m.shown(v.uuid)
		if s.ahead {
			v.seen = m.Clock.Now() // it has moved, and that is to be seen
		}
		if v.machine == nil || old.current && v.machine.series != nil {
			m.ledger.Close(v.slot, ledger.RetiredVMs) // no state of ours has that
			continue
		}
		if old.current {
			v.machine.series = &v
		} else {
			v.machine.former = append(v.machine.former, &v)
		}
		m.machines.series = append(m.machines.series, &v)
	}
	for uuid, a := range m.machines.byUUID {
		if a.series == nil {
			delete(m.machines.byUUID, uuid)
		}
	}
	m.machines.series = slices.DeleteFunc(m.machines.series, func(v *vmSeries) bool {
		orphan := m.machines.byUUID[v.machine.UUID] != v.machine
		if orphan {
			m.ledger.Close(v.slot, ledger.RetiredVMs)
		}
		return orphan
	})
	slices.SortFunc(m.machines.series, compareVMSeries)
	m.reorder()
	m.machines.past = s.past
	if m.VMs != nil {
		m.VMs.Restore(s.vms(), s.past)
	}
}

// restoreSeries goes on with what was shown of a process. After a reboot there is no process, but its last value is
// still to be seen.
func (m *Meter) restoreSeries(old *savedSeries, sameBoot bool, open func(ledger.Slot, []row)) {
	s := &old.series
	at, found := m.findSeries(s.label)
	if found {
		open(ledger.RetiredProcesses, old.rows)
		return
	}
	s.counts, s.slot, s.ceilings = true, m.ledger.Open(), m.newCeilings()
	open(s.slot, old.rows)
	m.series = slices.Insert(m.series, at, s)
	if !old.lives || !sameBoot || m.processes[old.of.id] != nil {
		return
	}
	a := m.openProcess(old.of.id, old.of.kernel)
	m.ledger.Close(a.slot, ledger.Ended)
	a.slot, a.comm, a.cpu, a.score, a.scoreAt = s.slot, s.comm, old.of.cpu, old.of.score, old.of.scoreAt
	a.series, s.process, a.place = s, a, int32(len(m.listed))
	m.listed = append(m.listed, a)
}

func (d *decoder) skip(n int) { d.b = d.b[min(n, len(d.b)):] }

func (d *decoder) baseline(b *cputime.Baseline) {
	for range d.count() {
		b.Busy, b.Idle = append(b.Busy, d.uint()), append(b.Idle, d.uint())
	}
	b.Processes = make([]cputime.Reading, d.count())
	for i := range b.Processes {
		b.Processes[i] = cputime.Reading{ID: proc.ID{PID: int32(d.uint()), Start: d.uint()}, Total: d.uint()}
	}
}

func (d *decoder) machine() (a machine) {
	a.UUID, a.Name, a.Title = d.string(), d.string(), d.string()
	a.State, a.Source = vmmap.State(d.string()), vmmap.Source(d.string())
	a.Project, a.User, a.Flavor = d.string(), d.string(), d.string()
	a.VCPUs = int(d.uint())
	a.present, a.Derived, a.Ordinary = d.bool(), d.bool(), d.bool()
	a.Share, a.Publish = d.string(), d.string()
	a.VM.Process = proc.ID{PID: int32(d.uint()), Start: d.uint()}
	return a
}

func (d *decoder) vmSeries(zones int) (s savedVMSeries) {
	s.uuid, s.name = d.string(), d.string()
	s.current = d.bool()
	s.created = d.time()
	s.seen = time.Unix(int64(d.uint()), 0)
	s.cpu = d.uint()
	s.rows = d.rows(zones)
	return s
}

func (d *decoder) retired(zones int) (r retired) {
	r.name = d.string()
	r.cpu = d.uint()
	r.created = d.time()
	r.at = time.Unix(int64(d.uint()), 0)
	r.ordinary = d.bool()
	r.rows = d.rows(zones)
	return r
}

func (d *decoder) series(zones int) (s savedSeries) {
	s.series.comm = d.string()
	s.label = label{pid: int32(d.uint()), comm: d.string(), exe: d.string()}
	s.created = d.time()
	s.since = time.Duration(d.uint())
	if s.lives = d.bool(); s.lives {
		s.of = d.process()
	}
	s.rows = d.rows(zones)
	return s
}

func (d *decoder) process() (a process) {
	a.id = proc.ID{PID: int32(d.uint()), Start: d.uint()}
	a.kernel = d.bool()
	a.cpu = d.uint()
	a.score = math.Float64frombits(d.uint())
	a.scoreAt = time.Duration(d.uint())
	return a
}

// time reads a time; zero where it is not known.
func (d *decoder) time() time.Time {
	ns := d.uint()
	if ns == 0 || ns > math.MaxInt64 {
		return time.Time{}
	}
	return time.Unix(0, int64(ns))
}

func (d *decoder) rows(zones int) []row {
	rows := make([]row, zones)
	for i := range rows {
		rows[i] = row{energy.Microjoules(d.uint()), energy.Microjoules(d.uint())}
	}
	return rows
}
