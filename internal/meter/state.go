package meter

import (
	"math"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/ledger"
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
const stateMagic = "scaph state 2\n"

// save hands the encoded state to the store. A store that fails is counted and never stops the metering.
func (m *Meter) save() {
	if m.State == nil {
		return
	}
	m.scratch = m.encode(m.scratch[:0])
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

func (m *Meter) encode(b []byte) []byte {
	e := encoder{b: append(b, stateMagic...)}
	e.string(m.BootID)
	e.uint(uint64(len(m.zones)))
	for _, z := range m.zones {
		e.zone(z)
	}
	for s := range ledger.Gone + 1 {
		if s == ledger.Ended {
			m.encodeRest(&e)
		} else {
			m.encodeRows(&e, s, nil)
		}
	}
	e.uint(uint64(len(m.machines.ordered)))
	for _, a := range m.machines.ordered {
		e.machine(a)
		m.encodeRows(&e, a.slot, nil)
	}
	e.uint(uint64(len(m.machines.retired)))
	for uuid, r := range m.machines.retired {
		e.string(uuid)
		e.uint(uint64(r.at.Unix()))
		e.energies(&r.energy)
	}
	e.uint(uint64(len(m.listed)))
	for _, a := range m.listed {
		e.process(a)
		m.encodeRows(&e, a.slot, a.series.base)
	}
	e.baseline(m.CPU.Baseline())
	return e.seal()
}

// encodeRows writes what a row holds of each zone, less what it held at its base.
func (m *Meter) encodeRows(e *encoder, s ledger.Slot, base []row) {
	for i, z := range m.zones {
		active, idle := m.ledger.Energy(s, z.index)
		if base != nil {
			active, idle = active-base[i][Active], idle-base[i][Idle]
		}
		e.uint(uint64(active))
		e.uint(uint64(idle))
	}
}

// encodeRest writes the row Ended as it would be if every process that is not listed had ended, and
// every listed one had begun when it was listed.
func (m *Meter) encodeRest(e *encoder) {
	for i, z := range m.zones {
		active, idle := m.ledger.Energy(ledger.Ended, z.index)
		for _, a := range m.accounts {
			if a.series != nil {
				active, idle = active+a.series.base[i][Active], idle+a.series.base[i][Idle]
				continue
			}
			x, y := m.ledger.Energy(a.slot, z.index)
			active, idle = active+x, idle+y
		}
		e.uint(uint64(active))
		e.uint(uint64(idle))
	}
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
}

func (e *encoder) machine(a *machine) {
	for _, s := range []string{a.UUID, a.Name, a.Title, string(a.State), string(a.Source), a.Project, a.User, a.Flavor} {
		e.string(s)
	}
	e.uint(uint64(max(0, a.VCPUs)))
	e.uint(a.cpu)
	e.uint(uint64(a.seen.Unix()))
	e.energies(&a.before)
}

func (e *encoder) process(a *process) {
	e.uint(uint64(uint32(a.id.PID)))
	e.uint(a.id.Start)
	e.string(a.comm)
	e.string(a.series.exe)
	e.bool(a.kernel)
	e.uint(a.cpu)
	e.uint(math.Float64bits(a.score))
	e.uint(uint64(max(0, a.scoreAt)))
}

func (e *encoder) energies(all *Energies) {
	for k := range all {
		for p := range all[k] {
			e.uint(uint64(all[k][p]))
		}
	}
}
