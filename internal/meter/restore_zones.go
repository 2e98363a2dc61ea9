package meter

import (
	"math"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

type savedZone struct {
	energy.Zone
	created           time.Time
	known             bool
	raw               energy.Microjoules
	movedAt, asleepAt time.Duration
	carry, agreed     uint64
	floor, peak       energy.Watts
	uncertain, resets uint64
}

// unknownSleep stands for a state that does not know how long the machine had slept: it is taken
// not to have since.
const unknownSleep = time.Duration(math.MaxInt64)

// zone reads a zone of one of the kinds up to the last.
func (d *decoder) zone(last energy.Kind) (z savedZone) {
	z.Path, z.Name = d.string(), d.string()
	z.Kind = energy.Kind(min(d.uint(), uint64(last)))
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
	z.asleepAt = unknownSleep
	if d.version >= 3 {
		z.created = d.time()
		z.asleepAt, z.carry, z.agreed = time.Duration(d.uint()), d.uint(), d.uint()
	}
	return z
}

// addGhosts adds the zones that the state has and the sensor has not.
func (m *Meter) addGhosts(s *saved) {
	if s == nil {
		return
	}
	add := func(old energy.Zone) {
		if m.zoneLike(old) == nil {
			m.Log.Warn("a zone of the last run is not there any more; its total stays", "zone", old.Path, "name", old.Name)
			m.addZone(m.newZone(old, ghost))
		}
	}
	for _, old := range s.zones {
		add(old.Zone)
	}
	for _, old := range s.unsplit {
		add(old.Zone)
	}
}

func (m *Meter) zoneLike(z energy.Zone) *zone {
	zones := m.zones
	if z.Split == energy.ByNothing {
		zones = m.unsplit
	}
	for _, have := range zones {
		if have.Path == z.Path && have.Name == z.Name && have.Source == z.Source {
			return have
		}
	}
	return nil
}

// restore takes over what is known of the zone for good.
func (z *zone) restore(old *savedZone) {
	z.peak, z.uncertain, z.resets, z.created = old.peak, old.uncertain, old.resets, old.created
}

// resume takes over the last reading, which counts within one boot.
func (z *zone) resume(old *savedZone, asleep time.Duration) {
	z.known, z.raw, z.movedAt = old.known, old.raw, old.movedAt
	z.asleepAt, z.carry = min(old.asleepAt, asleep), old.carry%1000
}
