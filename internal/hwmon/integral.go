package hwmon

import (
	"math/bits"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

const (
	// longestSpan is the longest time between two readings over which a power is integrated. What
	// was drawn in a longer one is not known, and not counted.
	longestSpan = 10 * time.Second
	// longestWait is how long a value that stands still may wait for the device's next one.
	longestWait = 10 * time.Second
)

// An integral is the energy of a power that is read again and again: the trapezoids between the
// device's own values.
//
// A device has a new value only now and then: as often as it says (updates), else as often as its
// value has been seen to change. Two readings of one value are not two values, so a trapezoid goes
// from one value to the next, and the energy of the time since the last value is counted with the
// next one.
//
// How far off that may be: between two values, the power is taken to have been between them, at any
// time; so a trapezoid is off by at most half the change of power times its length. When the value
// changed is known to one reading, which adds the change times the time since the reading before.
// How well the device measures is not part of it.
type integral struct {
	updates time.Duration // as the device says; 0 where it does not
	seen    time.Duration // the shortest time between two changes; 0 before there are any

	started bool
	last    time.Duration // of the last value that counts
	power   uint64        // µW, then
	read    time.Duration // of the last reading
	changed time.Duration // of the last change; 0 before there is any

	energy, bound sum
}

// add takes a reading of so many µW. gap says that it comes too late after the one before it.
func (s *integral) add(now time.Duration, power uint64) (gap bool) {
	lag := now - s.read
	if !s.started || lag < 0 || lag > longestSpan {
		gap = s.started
		s.started, s.last, s.power, s.read, s.changed = true, now, power, now, 0
		return gap
	}
	s.read = now
	span, between := now-s.last, s.between()
	if power == s.power && span < min(between, longestWait) {
		return false
	}
	if power != s.power {
		s.change(now)
	}
	s.energy.addHalf(s.power+power, span)
	s.bound.addHalf(distance(s.power, power), span+2*lag+2*max(0, between-span))
	s.last, s.power = now, power
	return false
}

// between is the time between two values of the device.
func (s *integral) between() time.Duration {
	if s.updates > 0 {
		return s.updates
	}
	return s.seen
}

// change learns from a change how often there are any.
func (s *integral) change(now time.Duration) {
	if s.changed > 0 && (s.seen == 0 || now-s.changed < s.seen) {
		s.seen = now - s.changed
	}
	s.changed = now
}

func distance(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// A sum adds energies up without losing any.
type sum struct {
	microjoules energy.Microjoules
	rest        uint64 // below a µJ, in halves of a µW for a ns
}

// addHalf adds half of a power, in µW, held for a time. The longest, MaxPower for some hours, is
// far within 64 bits of µJ.
func (s *sum) addHalf(power uint64, over time.Duration) {
	const perMicrojoule = 2 * uint64(time.Second)
	high, low := bits.Mul64(power, uint64(over))
	low, carry := bits.Add64(low, s.rest, 0)
	quotient, rest := bits.Div64(high+carry, low, perMicrojoule)
	s.microjoules += energy.Microjoules(quotient)
	s.rest = rest
}
