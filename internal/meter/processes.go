package meter

import (
	"slices"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/snapshot"
)

// A process is the account of a process that is not part of a VM. It is opened when the process uses CPU
// time, and closed when it ends, or has been idle for idleAfter and is not listed: what it holds is part of
// the rest in either case. So a tick costs what those cost that run.
type process struct {
	id      proc.ID
	comm    string
	cpu     uint64  // ns since it started
	score   float64 // decaying ns of CPU time: who deserves a series of his own
	scoreAt time.Duration
	slot    ledger.Slot
	index   int32 // in Meter.accounts
	place   int32 // in Meter.listed
	kernel  bool
	series  *series // nil: it is not listed
}

const idleAfter = time.Minute

// charge puts the sample's CPU time on accounts.
func (m *Meter) charge(now time.Duration) {
	m.adopt()
	m.startSeries()
	for i := range m.sample.Processes {
		p := &m.sample.Processes[i]
		var used uint64
		for _, ns := range p.Delta {
			used += ns
		}
		if used == 0 && !p.Exited {
			continue
		}
		if owner := m.ownerOf(p); owner != nil {
			owner.series.cpu += used
			m.ledger.Charge(owner.series.slot, p.Delta)
			m.end(m.processes[p.ID]) // it was a process before it was known to be a VM's
			if p.Exited {
				m.machines.adopted.Forget(p.ID)
			}
			continue
		}
		a := m.processes[p.ID]
		if used > 0 {
			if a == nil {
				a = m.openProcess(p.ID, p.Kernel)
			}
			a.comm, a.cpu = p.Comm, p.Total
			a.score = decayed(a.score, now-a.scoreAt) + float64(used)
			a.scoreAt = now
			m.ledger.Charge(a.slot, p.Delta)
		}
		if p.Exited {
			m.end(a)
		}
	}
	m.ledger.Charge(ledger.Unseen, m.sample.Unseen)
}

func (m *Meter) openProcess(id proc.ID, kernel bool) *process {
	a := &process{id: id, index: int32(len(m.accounts)), slot: m.ledger.Open(), kernel: kernel}
	m.processes[id] = a
	m.accounts = append(m.accounts, a)
	return a
}

// end takes an account that gets nothing any more off the list. It is closed after the settlement, which still
// splits this tick's energy.
func (m *Meter) end(a *process) {
	if a == nil {
		return
	}
	delete(m.processes, a.id)
	last := len(m.accounts) - 1
	m.accounts[a.index] = m.accounts[last]
	m.accounts[a.index].index = a.index
	m.accounts[last] = nil
	m.accounts = m.accounts[:last]
	m.ended = append(m.ended, a)
}

// endVanished ends the accounts, known from an earlier run, of processes that ended while nobody looked: no Sample
// will tell of them.
func (m *Meter) endVanished() {
	baseline := m.CPU.Baseline()
	living := baseline.Totals()
	for _, a := range slices.Clone(m.accounts) {
		if _, lives := living[a.id]; !lives {
			m.end(a)
		}
	}
}

// endIdle ends the accounts of processes that have not run for long.
func (m *Meter) endIdle(now time.Duration) {
	for i := len(m.accounts) - 1; i >= 0; i-- { // the last one takes the place of one that is ended
		if a := m.accounts[i]; a.series == nil && now-a.scoreAt >= idleAfter {
			m.end(a)
		}
	}
}

// closeEnded moves what the ended accounts hold to the row Ended, but for what counts in a series.
func (m *Meter) closeEnded() {
	for i, a := range m.ended {
		if a.series != nil {
			m.unlist(a)
		}
		m.ledger.Close(a.slot, ledger.Ended)
		m.ended[i] = nil
	}
	m.ended = m.ended[:0]
}

// rowsOf gives what a row holds of each zone.
func (m *Meter) rowsOf(s ledger.Slot) []row {
	rows := make([]row, len(m.zones))
	for i, z := range m.zones {
		rows[i][snapshot.Active], rows[i][snapshot.Idle] = m.ledger.Energy(s, z.index)
	}
	return rows
}

// energiesOf gives what a row holds, by kind of zone.
func (m *Meter) energiesOf(s ledger.Slot) (e snapshot.Energies) {
	for _, z := range m.zones {
		active, idle := m.ledger.Energy(s, z.index)
		e[z.Kind][snapshot.Active] += active
		e[z.Kind][snapshot.Idle] += idle
	}
	return e
}

// powerOf gives a row's power in the zones of the basis.
func (m *Meter) powerOf(s ledger.Slot) (w energy.Watts) {
	for _, z := range m.zones {
		if z.basis && !z.failed {
			w += m.ledger.Power(s, z.index)
		}
	}
	return w
}
