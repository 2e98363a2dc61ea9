package energy

import (
	"math"
	"time"
)

// An Outcome is what happened to a counter between two readings.
type Outcome uint8

// The outcomes.
const (
	Moved     Outcome = iota // it went up, or stood still
	Wrapped                  // it passed its range once and began at 0 again
	Reset                    // it jumped, up or down: the readings say nothing about energy
	Uncertain                // it may have passed its range more often than the readings show
)

// String names the outcome as in logs: moved, wrapped, reset, uncertain.
func (o Outcome) String() string {
	return [...]string{"moved", "wrapped", "reset", "uncertain"}[min(o, Uncertain)]
}

// A Step is the difference of two readings of a counter.
type Step struct {
	Outcome Outcome

	// Energy is what was used between the readings. Moved, Wrapped: exactly, with Nano. Reset: 0, nothing is
	// known, and the second reading is where to go on from. Uncertain: the least that fits; the truth may be
	// a whole number of ranges more, or the counter jumped.
	Energy Microjoules

	// Nano is what a wrap gave beside Energy, in nJ, below 1000. Whoever adds steps up carries it.
	Nano uint64
}

// A Gap is what is known of the time between two readings of a counter.
type Gap struct {
	// Elapsed is the time since the counter was last seen to move, not since it was last read: a tree
	// for guests moves once per publish interval, or after a pause of its host by all that the
	// pause has used.
	Elapsed time.Duration

	// Slept says that the machine was suspended in the gap, which may set its counters to 0.
	Slept bool

	Most   Watts // more power is not possible
	Likely Watts // more is not likely, by what is known of this machine
}

// wrapped returns the energy from prev to a cur below it over one wrap. Where the range has a register behind it,
// that counts 2^32 units from 0 to 0, which is one unit more than the range; else a counter goes from rng to 0, and both
// stand for one value.
func wrapped(prev, cur, rng Microjoules, unit uint64) Step {
	if unit == 0 {
		return Step{Outcome: Wrapped, Energy: rng - prev + cur}
	}
	modulus := unit << 32 // nJ
	return Step{Outcome: Wrapped, Energy: Microjoules(modulus/1000) - prev + cur, Nano: modulus % 1000}
}

// Delta takes the difference of two readings of a counter with the given range and unit
// (Zone.Range and Zone.Unit; range 0: it never wraps).
//
// A wrap and a jump for another reason (the counter was reset by a suspend, a driver, a simulation;
// a wrong value was read before) look the same in the two numbers. What tells them apart is how much
// energy can have been used. The answers that the numbers allow are the distance forward, and that plus 1, 2, … ranges.
//
//   - If none of them is possible, the counter was Reset.
//   - A fall is a wrap if that is likely. Else it was Reset, and always if the machine slept.
//   - A counter that went up may be wrong in one way only where a fall could be a wrap, that is in a gap in which it could
//     pass its whole range: if so far is not likely, it is Uncertain.
//   - If more energy than the nearest answer is likely by a whole range or more, it is Uncertain.
//   - A counter that stands still is never Uncertain.
func Delta(prev, cur, rng Microjoules, unit uint64, gap Gap) Step {
	step := Step{Outcome: Moved, Energy: cur - prev}
	switch {
	case cur == prev:
		return step
	case cur < prev && (rng == 0 || prev > rng || gap.Slept):
		return Step{Outcome: Reset} // no wrap leads from prev to cur
	case cur < prev:
		step = wrapped(prev, cur, rng, unit)
	}
	// Readings are not taken at the very moment that the clock is looked at; a late one may stand for more than elapsed.
	const slack = time.Second
	span := max(gap.Elapsed, 0) + slack
	possible := gap.Most.Over(span)
	likely := min(possible, gap.Likely.Over(span))
	switch {
	case step.Energy > possible, step.Outcome == Wrapped && step.Energy > likely:
		return Step{Outcome: Reset}
	case rng == 0:
	case step.Energy > likely && possible >= rng, likely >= step.Energy && likely-step.Energy >= rng:
		step.Outcome = Uncertain
	}
	return step
}

// WrapTime gives how long a counter of the given range lasts at a steady power. A counter without a range (0),
// or one that gets no power, never wraps: the longest Duration, 292 years.
func WrapTime(rng Microjoules, power Watts) time.Duration {
	const forever = time.Duration(math.MaxInt64)
	if rng == 0 || !(power > 0) {
		return forever
	}
	ns := float64(rng) * 1e3 / float64(power) // µJ/W = µs
	if ns >= float64(forever) {
		return forever
	}
	return time.Duration(ns)
}
