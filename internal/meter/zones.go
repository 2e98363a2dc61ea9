package meter

import (
	"slices"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
)

// ghost is the reading number of a zone that an earlier run had and this sensor has not: it keeps its
// total, so that nobody's counter falls, and gives nothing any more.
const ghost = -1

// A zone is one counter of the sensor, and its row in the books.
type zone struct {
	energy.Zone
	index   int // in the ledger
	reading int // in the sensor, or ghost
	basis   bool
	created time.Time // when its total was 0
	domains []int     // of the CPUs whose energy it counts: its own, and those of the dies that mirror it

	known    bool // raw holds a reading
	raw      energy.Microjoules
	movedAt  time.Duration // when raw was first seen, on Clock.Boot
	asleepAt time.Duration // what Clock.Asleep said then
	carry    uint64        // nJ that wraps gave, not yet a whole µJ
	failed   bool
	pace     pace
	mirror   mirror

	floor          ledger.Floor
	busy, capacity uint64 // ns of CPU time since the counter moved
	power          energy.Watts
	peak           energy.Watts // the highest power yet, 0 while unknown
	uncertain      uint64
	resets         uint64

	unsplit // of a zone that nothing splits
}

func (m *Meter) newZone(z energy.Zone, reading int) *zone {
	zn := &zone{Zone: z, reading: reading, basis: energy.Basis(m.Psys).Has(z.Kind)}
	for _, key := range []string{z.Name, z.Path} { // the path is exact, so it wins
		if w, ok := m.IdleWatts[key]; ok {
			zn.floor = ledger.Floor{Watts: w, Fixed: true}
		}
	}
	return zn
}

// basis returns the kinds of zone that count, as far as there are zones of them.
func (m *Meter) basis() (kinds energy.KindSet) {
	for _, z := range m.zones {
		if z.basis {
			kinds = kinds.With(z.Kind)
		}
	}
	return kinds
}

// settle takes the zone's new reading and has the ledger split what it gave. A counter that could not
// be read, or that stands still (a tree for guests moves once per publish interval), is settled when it moves
// again, by the CPU time of all that while; until then it shows its last power for as long as it may just be
// due, and none after that.
func (m *Meter) settle(z *zone, now moment) {
	busy, capacity := m.cpuOf(z)
	z.busy += busy
	z.capacity += capacity
	if z.reading == ghost {
		z.failed = true
		return
	}
	r := m.readings[z.reading]
	if r.Err != nil {
		m.fail(z, r.Err)
		m.count("sensor", 1)
		return
	}
	m.readable(z)
	switch {
	case z.known && z.mirror.of != nil && !z.mirror.settled():
		// Not charged as long as it may be another's counter; see mirror.
	case z.mirror.of != nil:
		z.advance(r.Energy, now)
		m.close(z, 0, 0, false)
	default:
		m.take(z, r.Energy, now)
	}
}

// take takes a value of a counter.
func (m *Meter) take(z *zone, value energy.Microjoules, now moment) {
	switch {
	case !z.known:
		z.advance(value, now)
		m.close(z, 0, 0, false)
	case value == z.raw:
		m.still(z, now)
	default:
		m.move(z, value, now)
	}
}

// readable ends a failure of a zone.
func (m *Meter) readable(z *zone) {
	if z.failed {
		m.Log.Info("a zone can be read again", "zone", z.Path)
	}
	z.failed = false
}

// fail ends the power of a zone that cannot be read.
func (m *Meter) fail(z *zone, err error) {
	if !z.failed {
		m.Log.Warn("a zone cannot be read; its energy is counted when it can be again", "zone", z.Path, "error", err)
	}
	z.failed = true
	m.quiet(z)
}

// atOnce is the longest gap over which what is possible is likely too: a VM host may go from idle to full load
// between two ticks, and in so short a time even that is little beside the range of any hardware.
const atOnce = 2 * time.Second

// minSleep is the shortest suspend that is told from the waver of the clocks.
const minSleep = 100 * time.Millisecond

// move settles what a counter that moved gave.
func (m *Meter) move(z *zone, to energy.Microjoules, now moment) {
	gap := energy.Gap{
		Elapsed: now.boot - z.movedAt, Slept: now.asleep-z.asleepAt >= minSleep,
		Most: m.MaxPower(z.Kind), Likely: m.likely(z),
	}
	if gap.Elapsed <= atOnce {
		gap.Likely = gap.Most
	}
	step := energy.Delta(z.raw, to, z.Range, z.Unit, gap)
	switch step.Outcome {
	case energy.Uncertain:
		z.uncertain++
		m.Log.Warn("a gap may hide a wrap or a jump; the least energy that fits is counted",
			"zone", z.Path, "gap", gap.Elapsed, "energy", step.Energy)
	case energy.Reset:
		z.resets++
		m.Log.Warn("a counter jumped; the energy since its last reading is unknown and not counted",
			"zone", z.Path, "from", uint64(z.raw), "to", uint64(to), "gap", gap.Elapsed, "slept", gap.Slept)
	}
	sure := !gap.Slept && (step.Outcome == energy.Moved || step.Outcome == energy.Wrapped)
	if z.pace.moved(gap.Elapsed, sure) && z.basis {
		m.Log.Info("a zone moves again", "zone", z.Path, "gap", gap.Elapsed)
	}
	z.advance(to, now)
	z.carry += step.Nano
	e := step.Energy + energy.Microjoules(z.carry/1000)
	z.carry %= 1000
	m.close(z, e, gap.Elapsed, sure)
}

func (z *zone) advance(to energy.Microjoules, now moment) {
	z.known, z.raw, z.movedAt, z.asleepAt = true, to, now.boot, now.asleep
}

// still shows no power of a counter that stands still for longer than it usually does.
func (m *Meter) still(z *zone, now moment) {
	if !z.pace.overdue(now.boot-z.movedAt, m.Interval) {
		return
	}
	if !z.pace.frozen && z.basis {
		m.Log.Warn("a zone does not move any more; it shows no power until it does", "zone", z.Path, "value", uint64(z.raw))
	}
	z.pace.frozen = true
	m.quiet(z)
}

// quiet ends the power that the zone and its consumers show.
func (m *Meter) quiet(z *zone) {
	z.power = 0
	if z.Split != energy.ByNothing {
		m.ledger.Quiet(z.index)
	}
}

// close settles e for the span that ends now, and starts the next one. It is sure if nothing about it is in doubt: only
// then it teaches what the zone draws.
func (m *Meter) close(z *zone, e energy.Microjoules, span time.Duration, sure bool) {
	z.power = e.Per(span)
	if z.Split == energy.ByNothing {
		z.total += e
		return
	}
	if sure {
		z.floor.Learn(e, span, z.busy, z.capacity)
		z.peak = max(z.peak, z.power)
	} else {
		z.floor.Forget()
	}
	m.ledger.Settle(z.index, e, z.floor.Split(e, span, z.busy, z.capacity), span)
	z.busy, z.capacity = 0, 0
}

// likely is the power that is taken to be likely over a gap: twice what the zone ever showed. MaxPower is twice
// what the largest machines show.
func (m *Meter) likely(z *zone) energy.Watts {
	if z.peak == 0 {
		return m.MaxPower(z.Kind) / 2
	}
	return 2 * z.peak
}

// cpuOf gives the busy time and the capacity of the zone's CPUs in the current sample.
func (m *Meter) cpuOf(z *zone) (busy, capacity uint64) {
	for i := range m.sample.Busy {
		if z.covers(i) {
			busy += m.sample.Busy[i]
			capacity += m.sample.Capacity[i]
		}
	}
	return busy, capacity
}

func (z *zone) covers(domain int) bool {
	return z.Kind == energy.Psys || slices.Contains(z.domains, domain)
}

// wrapSeconds tells how long the counter lasts at its present power; 0 where it does not wrap or nothing is known.
func (z *zone) wrapSeconds() float64 {
	if z.Range == 0 || z.power <= 0 {
		return 0
	}
	return energy.WrapTime(z.Range, z.power).Seconds()
}
