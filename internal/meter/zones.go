package meter

import (
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/rapl"
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

	known   bool // raw holds a reading
	raw     energy.Microjoules
	movedAt time.Duration // when raw was first seen, on Clock.Boot
	failed  bool

	floor          ledger.Floor
	busy, capacity uint64 // ns of CPU time since the counter moved
	power          energy.Watts
	peak           energy.Watts // the highest power yet, 0 while unknown
	uncertain      uint64
	resets         uint64
}

func (m *Meter) newZone(z energy.Zone, reading int) *zone {
	zn := &zone{Zone: z, reading: reading, basis: isBasis(z.Kind, m.Psys)}
	for _, key := range []string{z.Name, z.Path} { // the path is exact, so it wins
		if w, ok := m.IdleWatts[key]; ok {
			zn.floor = ledger.Floor{Watts: w, Fixed: true}
		}
	}
	return zn
}

func isBasis(k energy.Kind, psys bool) bool {
	if psys {
		return k == energy.Psys
	}
	return k == energy.Package || k == energy.DRAM
}

func (m *Meter) hasBasis() bool {
	for _, z := range m.zones {
		if z.basis {
			return true
		}
	}
	return false
}

// settle takes the zone's new reading and has the ledger split what it gave. A counter that could not
// be read, or that stands still (a tree for guests moves once per publish interval), is settled when it moves
// again, by the CPU time of all that while. It returns what was worth counting, if anything.
func (m *Meter) settle(z *zone, now time.Duration) {
	busy, capacity := m.cpuOf(z)
	z.busy += busy
	z.capacity += capacity
	if z.reading == ghost {
		z.power, z.failed = 0, true
		return
	}
	r := m.readings[z.reading]
	if r.Err != nil {
		if !z.failed {
			m.Log.Warn("a zone cannot be read; its energy is charged when it can be again", "zone", z.Path, "error", r.Err)
		}
		z.failed = true
		m.count("sensor", 1)
		return
	}
	if z.failed {
		m.Log.Info("a zone can be read again", "zone", z.Path)
	}
	z.failed = false
	if !z.known {
		z.known, z.raw, z.movedAt = true, r.Energy, now
		m.close(z, 0, 0)
		return
	}
	if r.Energy == z.raw {
		return
	}
	span := now - z.movedAt
	step := rapl.Delta(z.raw, r.Energy, z.Range, span, m.MaxPower(z.Kind), m.likely(z))
	switch step.Outcome {
	case rapl.Uncertain:
		z.uncertain++
		m.Log.Warn("a gap was long enough to hide a wrap; the least energy that fits is counted",
			"zone", z.Path, "gap", span, "energy", step.Energy)
	case rapl.Reset:
		z.resets++
		m.Log.Warn("a counter jumped; the energy since its last reading is unknown and not counted",
			"zone", z.Path, "from", uint64(z.raw), "to", uint64(r.Energy), "gap", span)
	}
	z.raw, z.movedAt = r.Energy, now
	m.close(z, step.Energy, span)
}

// close settles e for the span that ends now, and starts the next one.
func (m *Meter) close(z *zone, e energy.Microjoules, span time.Duration) {
	idle := z.floor.Split(e, span, z.busy, z.capacity)
	z.power = e.Per(span)
	z.peak = max(z.peak, z.power)
	m.ledger.Settle(z.index, e, idle, span)
	z.busy, z.capacity = 0, 0
}

// likely is the power that is taken to be possible over a gap: twice what the zone ever showed.
func (m *Meter) likely(z *zone) energy.Watts {
	if z.peak == 0 {
		return m.MaxPower(z.Kind)
	}
	return 2 * z.peak
}

// cpuOf gives the busy time and the capacity of the zone's CPUs in the current sample.
func (m *Meter) cpuOf(z *zone) (busy, capacity uint64) {
	d := m.DomainOf(z.Zone)
	for i := range m.sample.Busy {
		if z.Kind == energy.Psys || i == d {
			busy += m.sample.Busy[i]
			capacity += m.sample.Capacity[i]
		}
	}
	return busy, capacity
}

// wrapSeconds tells how long the counter lasts at its present power; 0 where it does not wrap or nothing is known.
func (z *zone) wrapSeconds() float64 {
	if z.Range == 0 || z.power <= 0 {
		return 0
	}
	return rapl.WrapTime(z.Range, z.power).Seconds()
}
