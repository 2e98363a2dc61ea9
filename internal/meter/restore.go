package meter

import (
	"errors"
	"math"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/vmmap"
)

// A saved is a decoded state.
type saved struct {
	sameBoot bool
	zones    []savedZone
	fixed    [ledger.Gone + 1][]row // by fixed row, by saved zone
	machines []savedMachine
	retired  map[string]retired
	listed   []savedProcess
	baseline cputime.Baseline
}

// A row is what an account holds of one zone.
type row [Parts]energy.Microjoules

type savedZone struct {
	energy.Zone
	known             bool
	raw               energy.Microjoules
	movedAt           time.Duration
	floor, peak       energy.Watts
	uncertain, resets uint64
}

type savedMachine struct {
	machine
	rows []row
}

type savedProcess struct {
	process
	exe  string
	rows []row
}

// decode reads the first state that can be used; nil where none can.
func (m *Meter) decode(states [][]byte) *saved {
	for _, b := range states {
		if len(b) == 0 {
			continue
		}
		s, err := parseState(b)
		if err == nil {
			s.sameBoot = s.baseline.BootID != "" && s.baseline.BootID == m.BootID
			return s
		}
		m.Log.Error("a state of the last run cannot be used; the next older one is, or all counters start at 0", "error", err)
		m.count("state", 1)
	}
	return nil
}

func parseState(b []byte) (*saved, error) {
	if !strings.HasPrefix(string(b[:min(len(b), len(stateMagic))]), stateMagic) {
		return nil, errors.New("it was not written by this version of the program")
	}
	d := unseal(b)
	d.skip(len(stateMagic))
	s := &saved{retired: make(map[string]retired)}
	s.baseline.BootID = d.string()
	for range d.count() {
		s.zones = append(s.zones, d.zone())
	}
	for i := range s.fixed {
		s.fixed[i] = d.rows(len(s.zones))
	}
	for range d.count() {
		s.machines = append(s.machines, savedMachine{d.machine(), d.rows(len(s.zones))})
	}
	for range d.count() {
		uuid := d.string()
		at := time.Unix(int64(d.uint()), 0)
		s.retired[uuid] = retired{at: at, energy: d.energies()}
	}
	for range d.count() {
		p := d.process()
		p.rows = d.rows(len(s.zones))
		s.listed = append(s.listed, p)
	}
	d.baseline(&s.baseline)
	return s, d.err
}

// addGhosts adds the zones that the state has and the sensor has not.
func (m *Meter) addGhosts(s *saved) {
	if s == nil {
		return
	}
	for _, old := range s.zones {
		if m.zoneLike(old.Zone) == nil {
			m.Log.Warn("a zone of the last run is not there any more; its total stays", "zone", old.Path, "name", old.Name)
			m.zones = append(m.zones, m.newZone(old.Zone, ghost))
		}
	}
}

func (m *Meter) zoneLike(z energy.Zone) *zone {
	for _, have := range m.zones {
		if have.Path == z.Path && have.Name == z.Name && have.Source == z.Source {
			return have
		}
	}
	return nil
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
		z.peak, z.uncertain, z.resets = old.peak, old.uncertain, old.resets
		if s.sameBoot {
			z.known, z.raw, z.movedAt = old.known, old.raw, old.movedAt
		}
	}
	open := func(slot ledger.Slot, rows []row) {
		for i, r := range rows {
			m.ledger.Add(slot, index[i], r[Active], r[Idle])
		}
	}
	for slot, rows := range s.fixed {
		open(ledger.Slot(slot), rows)
	}
	for i := range s.machines {
		a := s.machines[i].machine
		if m.machines.byUUID[a.UUID] != nil {
			continue
		}
		a.slot, a.present = m.ledger.Open(), true
		open(a.slot, s.machines[i].rows)
		m.machines.byUUID[a.UUID] = &a
	}
	m.reorder()
	m.machines.retired = s.retired
	for _, p := range s.listed {
		if !s.sameBoot || m.processes[p.id] != nil {
			open(ledger.Ended, p.rows)
			continue
		}
		a := m.openProcess(p.id, p.kernel)
		a.comm, a.cpu, a.score, a.scoreAt = p.comm, p.cpu, p.score, p.scoreAt
		a.series = &series{exe: p.exe, base: make([]row, len(m.zones))}
		m.listed = append(m.listed, a)
		open(a.slot, p.rows)
	}
	if s.sameBoot {
		m.CPU.Restore(s.baseline)
		m.restored = true
	}
}

func (d *decoder) skip(n int) { d.b = d.b[min(n, len(d.b)):] }

func (d *decoder) baseline(b *cputime.Baseline) {
	for range d.count() {
		b.Busy, b.Idle = append(b.Busy, d.uint()), append(b.Idle, d.uint())
	}
	b.Processes = make([]cputime.Reading, d.count())
	for i := range b.Processes {
		b.Processes[i] = cputime.Reading{ID: cputime.ID{PID: int32(d.uint()), Start: d.uint()}, Total: d.uint()}
	}
}

func (d *decoder) zone() (z savedZone) {
	z.Path, z.Name = d.string(), d.string()
	z.Kind = energy.Kind(min(d.uint(), energy.Kinds-1))
	z.Package, z.Die = int(d.uint())-1, int(d.uint())-1
	z.Parent = d.string()
	z.Range = energy.Microjoules(d.uint())
	z.Source = d.string()
	z.known = d.bool()
	z.raw = energy.Microjoules(d.uint())
	z.movedAt = time.Duration(d.uint())
	z.floor = energy.Watts(math.Float64frombits(d.uint()))
	z.peak = energy.Watts(math.Float64frombits(d.uint()))
	z.uncertain, z.resets = d.uint(), d.uint()
	return z
}

func (d *decoder) machine() (a machine) {
	a.UUID, a.Name, a.Title = d.string(), d.string(), d.string()
	a.State, a.Source = vmmap.State(d.string()), vmmap.Source(d.string())
	a.Project, a.User, a.Flavor = d.string(), d.string(), d.string()
	a.VCPUs = int(d.uint())
	a.cpu = d.uint()
	a.seen = time.Unix(int64(d.uint()), 0)
	a.before = d.energies()
	return a
}

func (d *decoder) process() (a savedProcess) {
	a.id = cputime.ID{PID: int32(d.uint()), Start: d.uint()}
	a.comm, a.exe = d.string(), d.string()
	a.kernel = d.bool()
	a.cpu = d.uint()
	a.score = math.Float64frombits(d.uint())
	a.scoreAt = time.Duration(d.uint())
	return a
}

func (d *decoder) energies() (all Energies) {
	for k := range all {
		for p := range all[k] {
			all[k][p] = energy.Microjoules(d.uint())
		}
	}
	return all
}

func (d *decoder) rows(zones int) []row {
	rows := make([]row, zones)
	for i := range rows {
		rows[i] = row{energy.Microjoules(d.uint()), energy.Microjoules(d.uint())}
	}
	return rows
}
