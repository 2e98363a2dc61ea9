package meter

import (
	"math"
	"strconv"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/snapshot"
)

// The state is what makes a restart just a long tick: the last reading of every cumulative counter,
// and what has been charged up to it. It is saved before a Snapshot that contains it is published.
//
// Within one boot of the machine everything goes on: the energy of the gap is charged by the CPU time
// of the gap. After a reboot the kernel's counters begin anew and so the readings are dropped; the
// totals, among them those of virtual machines by UUID, go on.
//
// A zone that could not be read when the state was saved is charged, when it comes back after the restart,
// by the CPU time since the restart.
//
// States are numbered, so that the newest of several is found. One that was written ahead (see reserve.go) has
// counters at their ceilings.
const (
	stateMagic    = "scaph state "
	stateVersion  = 4
	oldestVersion = 2 // that can still be read
)

// save hands the encoded state to the store. A store that fails is counted and never stops the metering.
func (m *Meter) save() {
	if m.State == nil {
		return
	}
	m.generation++
	m.scratch = m.encode(m.scratch[:0], false)
	if err := m.State.Save(m.scratch); err != nil {
		if !m.unsaved {
			m.Log.Error("the state cannot be saved; metering goes on, but a restart would begin at the last state that was",
				"error", err)
		}
		m.count("state", 1)
		m.unsaved = true
		return
	}
	if m.unsaved {
		m.Log.Info("the state is saved again")
	}
	m.unsaved = false
}

func (m *Meter) encode(b []byte, ahead bool) []byte {
	e := encoder{b: append(b, stateMagic+strconv.Itoa(stateVersion)+"\n"...)}
	e.uint(m.generation)
	e.bool(ahead)
	e.time(m.created)
	e.uint(uint64(m.exposed))
	e.string(m.BootID)
	e.uint(uint64(len(m.zones)))
	for _, z := range m.zones {
		e.zone(z)
	}
	for s := range ledger.Slot(ledger.FixedRows) {
		if s == ledger.Ended {
			e.rows(m.rest, m.ceilings(s, ahead))
		} else {
			m.encodeRow(&e, s, m.ceilings(s, ahead))
		}
	}
	e.uint(uint64(len(m.machines.ordered)))
	for _, a := range m.machines.ordered {
		if a.encoded == nil {
			var own encoder
			own.machine(a)
			a.encoded = own.b
		}
		e.b = append(e.b, a.encoded...)
	}
	e.uint(uint64(len(m.machines.series)))
	for _, s := range m.machines.series {
		m.encodeVMSeries(&e, s, ahead)
	}
	e.uint(uint64(len(m.machines.retired)))
	for uuid, all := range m.machines.retired {
		e.string(uuid)
		e.uint(uint64(len(all)))
		for i := range all {
			e.retired(&all[i])
		}
	}
	m.encodeSeries(&e, ahead)
	e.baseline(m.CPU.Baseline())
	e.uint(uint64(len(m.machines.past)))
	for _, p := range m.machines.past {
		e.string(p.UUID)
		e.time(p.Left)
	}
	m.encodeBasis(&e)
	m.encodeUnsplit(&e, ahead)
	return e.seal()
}

// ceilings are what a fixed row is written with ahead; nil where that is what it holds.
func (m *Meter) ceilings(s ledger.Slot, ahead bool) []ceiling {
	if !ahead || int(s) >= len(m.reserve.fixed) {
		return nil
	}
	return m.reserve.fixed[s]
}

func (m *Meter) encodeVMSeries(e *encoder, s *vmSeries, ahead bool) {
	e.string(s.machine.UUID)
	e.string(s.name)
	e.bool(s.current())
	e.time(s.created)
	e.uint(uint64(s.seen.Unix()))
	if ahead {
		e.uint(s.cpuCeiling.asked)
		m.encodeRow(e, s.slot, s.ceilings)
		return
	}
	e.uint(s.cpu)
	m.encodeRow(e, s.slot, nil)
}

// encodeRow writes what a row holds of each zone, or its ceilings.
func (m *Meter) encodeRow(e *encoder, s ledger.Slot, ceilings []ceiling) {
	for i := range m.row {
		m.row[i][snapshot.Active], m.row[i][snapshot.Idle] = m.ledger.Energy(s, m.zones[i].index)
	}
	e.rows(m.row, ceilings)
}

// encodeSeries writes the series of processes that count: the others show 0, and are chosen anew.
func (m *Meter) encodeSeries(e *encoder, ahead bool) {
	n := 0
	for _, s := range m.series {
		if s.counts {
			n++
		}
	}
	e.uint(uint64(n))
	for _, s := range m.series {
		if !s.counts {
			continue
		}
		e.string(s.comm)
		e.uint(uint64(uint32(s.pid)))
		e.string(s.label.comm)
		e.string(s.exe)
		e.time(s.created)
		e.uint(uint64(s.since))
		e.bool(s.process != nil)
		if s.process != nil {
			e.process(s.process)
		}
		if ahead {
			m.encodeRow(e, s.slot, s.ceilings)
		} else {
			m.encodeRow(e, s.slot, nil)
		}
	}
}

// rows writes what a row holds of each zone, or the ceilings in its place.
func (e *encoder) rows(rows []row, ceilings []ceiling) {
	for i := range rows {
		for p, v := range rows[i] {
			if ceilings != nil {
				v = energy.Microjoules(ceilings[i*snapshot.Parts+p].asked)
			}
			e.uint(uint64(v))
		}
	}
}

func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.uint(0)
		return
	}
	e.uint(uint64(max(0, t.UnixNano())))
}

func (e *encoder) retired(r *retired) {
	e.string(r.name)
	e.uint(r.cpu)
	e.time(r.created)
	e.uint(uint64(r.at.Unix()))
	e.bool(r.ordinary)
	e.rows(r.rows, nil)
}

func (e *encoder) baseline(b cputime.Baseline) {
	e.uint(uint64(len(b.Busy)))
	for i := range b.Busy {
		e.uint(b.Busy[i])
		e.uint(b.Idle[i])
	}
	e.uint(uint64(len(b.Processes)))
	for i := range b.Processes {
		r := &b.Processes[i]
		e.uint(uint64(uint32(r.PID)))
		e.uint(r.Start)
		e.uint(r.Total)
	}
}

func (e *encoder) zone(z *zone) {
	e.string(z.Path)
	e.string(z.Name)
	e.uint(uint64(z.Kind))
	e.uint(uint64(z.Package + 1))
	e.uint(uint64(z.Die + 1))
	e.string(z.Parent)
	e.uint(uint64(z.Range))
	e.string(z.Source)
	e.bool(z.known)
	e.uint(uint64(z.raw))
	e.uint(uint64(max(0, z.movedAt)))
	e.uint(math.Float64bits(float64(z.floor.Watts)))
	e.uint(math.Float64bits(float64(z.peak)))
	e.uint(z.uncertain)
	e.uint(z.resets)
	e.time(z.created)
	e.uint(uint64(max(0, z.asleepAt)))
	e.uint(z.carry)
	e.uint(uint64(z.mirror.agreed))
}

func (e *encoder) machine(a *machine) {
	for _, s := range []string{a.UUID, a.Name, a.Title, string(a.State), string(a.Source), a.Project, a.User, a.Flavor} {
		e.string(s)
	}
	e.uint(uint64(max(0, a.VCPUs)))
	for _, b := range []bool{a.present, a.Derived, a.Ordinary} {
		e.bool(b)
	}
	e.string(a.Share)
	e.string(a.Publish)
	e.uint(uint64(uint32(a.VM.Process.PID)))
	e.uint(a.VM.Process.Start)
}

func (e *encoder) process(a *process) {
	e.uint(uint64(uint32(a.id.PID)))
	e.uint(a.id.Start)
	e.bool(a.kernel)
	e.uint(a.cpu)
	e.uint(math.Float64bits(a.score))
	e.uint(uint64(max(0, a.scoreAt)))
}
