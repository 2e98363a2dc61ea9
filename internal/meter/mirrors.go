package meter

import (
	"slices"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// A mirror is what is known of a die's zone that may show the counter of another die of its package. AMD's
// processors have one counter per package, and the kernel has a zone for each die of it: all show the same, and
// only the first counts, for the CPUs of all.
//
// A zone is taken for a mirror from its first reading that is the same as the other's, so that nothing is ever counted
// twice, and until it differs from it twice in a row: once may be a reading between two updates. As it may turn out to be another counter, it is treated until then like one
// that cannot be read: what it gave, and the CPU time, add up. After enough moves of both it is sure, and what it
// gave is dropped.
type mirror struct {
	first   *zone // the one that it may mirror: of the first die; nil where there is none
	of      *zone // first, while it does
	differs bool  // it is another counter
	apart   int   // ticks in a row in which it showed something else than first
	agreed  int   // moves of first with which it agreed
}

// sureMirror is how many moves make a mirror sure. That two counters keep within 5 ms of each other's energy for so
// long, from the first reading on, is no chance.
const sureMirror = 60

func (r *mirror) settled() bool { return r.agreed >= sureMirror && r.apart == 0 }

// otherCounter is how many ticks in a row make a zone another counter.
const otherCounter = 2

// readingsApart is how long before or after the first the reading of a mirror may have been taken.
const readingsApart = 5 * time.Millisecond

// findFirsts finds for each die's zone the one that it may mirror.
func (m *Meter) findFirsts() {
	for i, z := range m.zones {
		if z.Die < 0 || z.reading == ghost {
			continue
		}
		j := slices.IndexFunc(m.zones[:i], func(f *zone) bool {
			return f.reading != ghost && f.Die >= 0 && f.Die != z.Die && f.Kind == z.Kind && f.Package == z.Package
		})
		if j >= 0 {
			z.mirror.first = m.zones[j]
		}
	}
}

// compareMirrors holds this tick's readings of dies against each other.
func (m *Meter) compareMirrors() {
	for _, z := range m.zones {
		r := &z.mirror
		if r.first == nil || r.differs {
			continue
		}
		mine, its := m.readings[z.reading], m.readings[r.first.reading]
		if mine.Err != nil || its.Err != nil || mine.Energy == 0 && r.of == nil {
			continue // counters that never moved tell nothing
		}
		if !m.sameReading(r.first, mine.Energy, its.Energy) {
			if r.apart++; r.apart >= otherCounter {
				m.tellApart(z)
			}
			continue
		}
		r.apart = 0
		switch {
		case r.of == nil:
			m.takeForMirror(z)
		case its.Energy != r.first.raw:
			r.agreed = min(r.agreed+1, sureMirror)
		}
	}
}

// takeForMirror has what a zone counts be counted by the first alone.
func (m *Meter) takeForMirror(z *zone) {
	r := &z.mirror
	m.Log.Warn("a zone mirrors the counter of another die; it is counted once", "zone", z.Path, "of", r.first.Path)
	r.of = r.first
	m.cover(r.first)
}

// tellApart has a zone count by itself from now on.
func (m *Meter) tellApart(z *zone) {
	r := &z.mirror
	mirrored := r.of != nil
	r.differs, r.of, r.agreed = true, nil, 0
	if mirrored {
		m.Log.Warn("a zone differs from the one that it mirrored; it counts by itself", "zone", z.Path, "of", r.first.Path)
		m.cover(r.first)
	}
}

// sameReading reports whether two readings can be of one counter, first's, that moved on between them.
func (m *Meter) sameReading(first *zone, a, b energy.Microjoules) bool {
	apart := max(a, b) - min(a, b)
	if first.Range > apart {
		apart = min(apart, first.Range-apart) // it wrapped between them
	}
	return apart <= m.likely(first).Over(readingsApart)
}

// cover has the zone split by the CPU time of its own die and of those that mirror it.
func (m *Meter) cover(z *zone) {
	z.domains = append(z.domains[:0], m.DomainOf(z.Zone))
	for _, other := range m.zones {
		if d := m.DomainOf(other.Zone); other.mirror.of == z && !slices.Contains(z.domains, d) {
			z.domains = append(z.domains, d)
		}
	}
	m.ledger.Cover(z.index, z.domains)
}
