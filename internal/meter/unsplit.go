package meter

import (
	"github.com/scaph/scaph/internal/energy"
)

// A zone that nothing splits is read and counted as the others are, and is no row of the ledger:
// nobody can be charged for it, it costs consumers nothing, and it is in no sum.

// unsplit is what a zone that nothing splits has in place of a row.
type unsplit struct {
	total    energy.Microjoules
	bound    energy.Microjoules // by how much total may be off
	rawBound energy.Microjoules // the sensor's, at the last reading

	totalCeiling, boundCeiling ceiling
}

func (m *Meter) addZone(z *zone) {
	if z.Split == energy.ByNothing {
		z.created = m.Clock.Now()
		m.unsplit = append(m.unsplit, z)
		return
	}
	m.zones = append(m.zones, z)
}

// settleUnsplit takes the new readings of the zones that nothing splits. It does without CPU time.
// Their sensors count what they cannot read.
func (m *Meter) settleUnsplit(now moment) {
	for _, z := range m.unsplit {
		if z.reading == ghost {
			z.failed = true
			continue
		}
		r := &m.readings[z.reading]
		if r.Err != nil {
			m.fail(z, r.Err)
			continue
		}
		at := moment{boot: now.boot - r.Age, asleep: now.asleep}
		if z.known && r.Bound >= z.rawBound {
			z.bound += r.Bound - z.rawBound
		}
		z.rawBound = r.Bound
		m.readable(z)
		m.take(z, r.Energy, at)
	}
}

// encodeUnsplit writes the zones that nothing splits.
func (m *Meter) encodeUnsplit(e *encoder, ahead bool) {
	e.uint(uint64(len(m.unsplit)))
	for _, z := range m.unsplit {
		e.zone(z)
		e.bool(z.Integrated)
		if ahead {
			e.uint(z.totalCeiling.asked)
			e.uint(z.boundCeiling.asked)
		} else {
			e.uint(uint64(z.total))
			e.uint(uint64(z.bound))
		}
	}
}

// A savedUnsplit is what encodeUnsplit wrote of a zone.
type savedUnsplit struct {
	savedZone
	total, bound energy.Microjoules
}

func (d *decoder) unsplit() []savedUnsplit {
	zones := make([]savedUnsplit, d.count())
	for i := range zones {
		z := &zones[i]
		z.savedZone = d.zone(energy.Device)
		z.Split, z.Integrated = energy.ByNothing, d.bool()
		z.total, z.bound = energy.Microjoules(d.uint()), energy.Microjoules(d.uint())
	}
	return zones
}

// restoreUnsplit has the totals go on. A counter that its sensor integrates began at 0 with that,
// and the last reading of an earlier one says nothing about it.
func (m *Meter) restoreUnsplit(s *saved) {
	for i := range s.unsplit {
		old := &s.unsplit[i]
		z := m.zoneLike(old.Zone)
		z.restore(&old.savedZone)
		z.total, z.bound = old.total, old.bound
		if s.sameBoot && !z.Integrated {
			z.resume(&old.savedZone, m.Clock.Asleep())
		}
	}
}
