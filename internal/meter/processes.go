package meter

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
)

// A process is the account of a process that is not part of a virtual machine. It is opened when the
// process uses CPU time, and closed when it ends, or has been idle for idleAfter and has no series of its own: what it
// holds is part of the rest in either case. So a tick costs what those cost that run.
type process struct {
	id      cputime.ID
	comm    string
	cpu     uint64  // ns since it started
	score   float64 // decaying ns of CPU time: who deserves a series of his own
	scoreAt time.Duration
	slot    ledger.Slot
	index   int32 // in Meter.accounts
	kernel  bool
	series  *series // nil: it has none
}

// A series is what a process has that is listed.
type series struct {
	exe  string
	base []row // what the account held of each zone when it was listed: part of the rest
}

// A listed process gives up its place only to one that uses clearly more, so that series do not flap, and use long
// ago counts less: half after every scoreHalfLife.
const (
	scoreHalfLife = 2 * time.Minute
	scoreMargin   = 1.5
	idleAfter     = time.Minute
)

func decayed(score float64, age time.Duration) float64 {
	return score * math.Exp2(-age.Seconds()/scoreHalfLife.Seconds())
}

// charge puts the sample's CPU time on accounts.
func (m *Meter) charge(now time.Duration) {
	m.adopt()
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
			owner.cpu += used
			m.ledger.Charge(owner.slot, p.Delta)
			m.end(m.processes[p.ID]) // it was a process before it was known to be a machine's
			if p.Exited {
				delete(m.machines.adopted, p.ID)
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

func (m *Meter) openProcess(id cputime.ID, kernel bool) *process {
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

// closeEnded moves what the ended accounts hold to the row Ended.
func (m *Meter) closeEnded() {
	for i, a := range m.ended {
		m.ledger.Close(a.slot, ledger.Ended)
		if a.series != nil {
			m.unlist(a)
		}
		m.ended[i] = nil
	}
	m.ended = m.ended[:0]
}

// list chooses which processes have a series of their own, among those that ran in this tick.
func (m *Meter) list(now time.Duration) {
	for len(m.listed) > max(0, m.Listed) { // an earlier run had more
		m.unlist(m.weakest(now))
	}
	if m.Listed <= 0 {
		return
	}
	for _, a := range m.accounts {
		if a.series != nil || a.scoreAt != now {
			continue
		}
		if len(m.listed) >= m.Listed {
			w := m.weakest(now)
			if a.score <= scoreMargin*decayed(w.score, now-w.scoreAt) {
				continue
			}
			m.unlist(w)
		}
		m.enlist(a)
	}
}

func (m *Meter) enlist(a *process) {
	a.series = &series{base: m.rowsOf(a.slot)}
	if !a.kernel && m.Exe != nil {
		a.series.exe = m.Exe(a.id.PID)
	}
	m.listed = append(m.listed, a)
}

func (m *Meter) unlist(a *process) {
	a.series = nil
	i := slices.Index(m.listed, a)
	m.listed = slices.Delete(m.listed, i, i+1)
}

func (m *Meter) weakest(now time.Duration) *process {
	return slices.MinFunc(m.listed, func(a, b *process) int {
		return cmp.Compare(decayed(a.score, now-a.scoreAt), decayed(b.score, now-b.scoreAt))
	})
}

// rowsOf gives what a row holds of each zone.
func (m *Meter) rowsOf(s ledger.Slot) []row {
	rows := make([]row, len(m.zones))
	for i, z := range m.zones {
		rows[i][Active], rows[i][Idle] = m.ledger.Energy(s, z.index)
	}
	return rows
}

// energiesOf gives what a row holds, by kind of zone.
func (m *Meter) energiesOf(s ledger.Slot) (e Energies) {
	for _, z := range m.zones {
		active, idle := m.ledger.Energy(s, z.index)
		e[z.Kind][Active] += active
		e[z.Kind][Idle] += idle
	}
	return e
}

// energiesIn gives what rows hold, by kind of zone.
func (m *Meter) energiesIn(rows []row) (e Energies) {
	for i, z := range m.zones {
		for p := range rows[i] {
			e[z.Kind][p] += rows[i][p]
		}
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

// add puts another's energies to these.
func (e *Energies) add(other Energies) {
	for k := range e {
		for p := range e[k] {
			e[k][p] += other[k][p]
		}
	}
}
