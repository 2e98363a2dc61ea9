package meter

import (
	"errors"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/snapshot"
)

// Write-ahead. The state of each tick may be lost with what it lies on (a tmpfs, at a power cut), and the
// one that survives is written once in a while. It is written ahead: each counter in it stands at a ceiling
// that it has not reached yet, and no Snapshot is published with a counter above its ceiling. So whatever is
// lost, a restart goes on at or above what anybody has seen, and no counter falls. The price is that after
// such a loss the counters jump to their ceilings, parts and zones by the same sum; it is logged, and
// bounded by about two minutes of the power of before and leastReserve for each counter.
//
// A ceiling that comes near is raised in time; one that is reached (a VM that wakes up) delays the
// publication, not the tick, until the disk has the new one. Where the disk does not answer for patience, or
// cannot be written, metering goes on without: then only a power cut at that very time can make a counter fall.

const (
	reserveEvery    = time.Minute
	leastReserve    = uint64(energy.Joule)
	leastCPUReserve = uint64(10 * time.Second)
	patience        = 10 * time.Second
)

var errDiskSilent = errors.New("the disk does not answer")

// A Reserver keeps a state that survives a power cut. Writing it never delays the caller.
type Reserver interface {
	// Reserve starts to write; it is not called again before there is a result.
	Reserve(state []byte)
	// Reserved carries the result of each Reserve: nil when the state is on the disk.
	Reserved() <-chan error
}

// A ceiling bounds what may be shown of one counter.
type ceiling struct {
	durable uint64 // the disk has it
	asked   uint64 // the disk is being given it
	from    uint64 // the counter's value when asked was computed
}

// low says that the counter has used up most of what was reserved for it.
func (c *ceiling) low(v uint64) bool {
	return v > c.from && v-c.from > (c.durable-min(c.from, c.durable))/4*3
}

// ask makes a new ceiling: for twice as much as the counter has grown by since the last one, as a rate.
func (c *ceiling) ask(v, least uint64, since time.Duration) {
	used := 0.0
	if c.asked > 0 {
		used = float64(v-min(v, c.from)) / max(since, time.Second).Seconds()
	}
	c.asked = max(c.durable, v+max(least, uint64(2*used*reserveEvery.Seconds())))
	c.from = v
}

// A reserve is what the meter knows of the state that is written ahead.
type reserve struct {
	fixed   [ledger.RetiredVMs][]ceiling // of the rows that are shown for themselves, and of the rest
	marks   uint64                       // resets and gaps that the disk knows of
	asked   uint64                       // and is being told of
	pending bool                         // it is being written
	failed  bool                         // the last time, it could not be written
	at      time.Duration                // when it was last asked for, on Clock.Boot; 0 for never
	held    time.Duration                // since when Snapshots are not published; 0: they are
}

func (m *Meter) newCeilings() []ceiling { return make([]ceiling, len(m.zones)*snapshot.Parts) }

// eachShown calls f for each counter that is shown, until it returns false.
func (m *Meter) eachShown(f func(v uint64, c *ceiling, least uint64) bool) bool {
	row := func(s ledger.Slot, ceilings []ceiling) bool {
		for i, z := range m.zones {
			active, idle := m.ledger.Energy(s, z.index)
			if !f(uint64(active), &ceilings[i*snapshot.Parts+int(snapshot.Active)], leastReserve) ||
				!f(uint64(idle), &ceilings[i*snapshot.Parts+int(snapshot.Idle)], leastReserve) {
				return false
			}
		}
		return true
	}
	for s, ceilings := range m.reserve.fixed {
		if ledger.Slot(s) != ledger.Ended && !row(ledger.Slot(s), ceilings) {
			return false
		}
	}
	for i, e := range m.rest {
		for p, v := range e {
			if !f(uint64(v), &m.reserve.fixed[ledger.Ended][i*snapshot.Parts+p], leastReserve) {
				return false
			}
		}
	}
	for _, z := range m.unsplit {
		if !f(uint64(z.total), &z.totalCeiling, leastReserve) || !f(uint64(z.bound), &z.boundCeiling, leastReserve) {
			return false
		}
	}
	for _, s := range m.machines.series {
		if !row(s.slot, s.ceilings) || !f(s.cpu, &s.cpuCeiling, leastCPUReserve) {
			return false
		}
	}
	for _, s := range m.series {
		if s.counts && !row(s.slot, s.ceilings) {
			return false
		}
	}
	return true
}

func (m *Meter) marks() (n uint64) {
	for _, z := range m.zones {
		n += z.resets + z.uncertain
	}
	for _, z := range m.unsplit {
		n += z.resets + z.uncertain
	}
	return n
}

// covered says whether no counter is above what the disk has, and whether that is enough for a while.
func (m *Meter) covered() (ok, enough bool) {
	ok = m.reserve.marks == m.marks()
	enough = ok
	m.eachShown(func(v uint64, c *ceiling, _ uint64) bool {
		ok = ok && v <= c.durable
		enough = enough && !c.low(v)
		return ok
	})
	return ok, ok && enough
}

// publishable says whether this tick's counters may be shown, and has the state written ahead when it is time.
func (m *Meter) publishable(now time.Duration) bool {
	if m.Ahead == nil {
		return true
	}
	r := &m.reserve
	select {
	case err := <-m.Ahead.Reserved():
		m.granted(err)
	default:
	}
	ok, enough := m.covered()
	since := now - r.at
	if !r.pending && (!enough || since >= reserveEvery || r.at == 0) && (!r.failed || since >= patience) {
		m.ask(now, since)
		m.await()
		ok, _ = m.covered()
	}
	if ok || r.failed {
		r.held = 0
		return true
	}
	if r.held == 0 {
		r.held = now
	}
	if now-r.held < patience {
		return false
	}
	m.granted(errDiskSilent)
	r.pending, r.held = true, 0 // the answer may still come
	return true
}

// await waits for the disk in the first tick, when there is nothing to show yet; later ticks only look.
func (m *Meter) await() {
	if m.seq > 0 || m.Succeeds {
		select {
		case err := <-m.Ahead.Reserved():
			m.granted(err)
		default:
		}
		return
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case err := <-m.Ahead.Reserved():
		m.granted(err)
	case <-timeout.C:
	}
}

// ask has the state written ahead.
func (m *Meter) ask(now, since time.Duration) {
	r := &m.reserve
	m.eachShown(func(v uint64, c *ceiling, least uint64) bool { c.ask(v, least, since); return true })
	r.asked, r.at, r.pending = m.marks(), now, true
	m.scratch = m.encode(m.scratch[:0], true)
	m.Ahead.Reserve(m.scratch)
}

// granted takes the result of writing ahead: where it succeeded, the ceilings that were asked for count.
func (m *Meter) granted(err error) {
	r := &m.reserve
	r.pending = false
	if err != nil {
		m.count("state", 1)
		if !r.failed {
			m.Log.Error("state on disk cannot be written; metering goes on, but counters could fall after a power cut", "error", err)
		}
		r.failed = true
		return
	}
	if r.failed {
		m.Log.Info("state on disk is written again")
	}
	r.failed, r.marks = false, r.asked
	m.eachShown(func(_ uint64, c *ceiling, _ uint64) bool { c.durable = c.asked; return true })
}

// publishLate publishes the Snapshot that waited for the disk, if that has answered.
func (m *Meter) publishLate(err error) {
	m.granted(err)
	ok, _ := m.covered()
	if s := m.waiting; s != nil && (err != nil || ok) {
		m.waiting, m.published, m.reserve.held = nil, true, 0
		m.publish(s)
	}
}
