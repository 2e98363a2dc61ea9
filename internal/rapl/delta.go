package rapl

import (
	"math"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// Bounds on power for Delta: more than anything really draws, so that no real energy is taken for a
// jump, and little enough that a jump is seldom taken for energy. The sockets of 2025 are built for up to 500 W.
const (
	MaxSocketPower   energy.Watts = 1_000  // one package, its parts, or its memory
	MaxPlatformPower energy.Watts = 10_000 // psys; also the one zone of a guest, whose share may come from every socket
)

// MaxPower gives the bound for a hardware zone of the kind.
func MaxPower(kind energy.Kind) energy.Watts {
	if kind == energy.Psys {
		return MaxPlatformPower
	}
	return MaxSocketPower
}

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

	// Energy is what was used between the readings. Moved, Wrapped: exactly. Reset: 0, nothing is
	// known, and the second reading is where to go on from. Uncertain: the least that fits; the truth may be
	// a whole number of ranges more.
	Energy energy.Microjoules
}

// Delta takes the difference of two readings of a counter with the given range
// (energy.Zone.Range; 0: it never wraps). A counter that wraps goes from rng to 0: both stand for one value, so
// that a wrap adds rng − prev + cur. (The hardware's own modulus is one unit, 61 µJ or
// less, above what it states as its range; that is 2e-10 of it.)
//
// A wrap and a jump for another reason (the counter was reset by a suspend, a driver, a simulation;
// a wrong value was read before) look the same in the two numbers. What tells them apart is how much
// energy can have been used at all: most × elapsed. The answers that the numbers allow
// are the distance forward, and that plus 1, 2, … ranges. If none of them is possible, the counter
// was Reset; if one is, it Moved or Wrapped.
//
// If more energy than the nearest answer is likely, not just possible, by a whole range or more, it is Uncertain. likely is
// the caller's bound on power for that: what is known of this machine, or most where nothing is.
//
// elapsed is the time since the counter was last seen to move, not since it was last read: a tree
// for guests moves once per publish interval, or after a pause of its host by all that the
// pause has used. A counter that stands still is never Uncertain.
func Delta(prev, cur, rng energy.Microjoules, elapsed time.Duration, most, likely energy.Watts) Step {
	step := Step{Outcome: Moved, Energy: cur - prev}
	switch {
	case cur == prev:
		return step
	case cur < prev && (rng == 0 || prev > rng):
		return Step{Outcome: Reset} // no wrap leads from prev to cur
	case cur < prev:
		step = Step{Outcome: Wrapped, Energy: rng - prev + cur}
	}
	// Readings are not taken at the very moment that the clock is looked at; a late one may stand for more than elapsed.
	const slack = time.Second
	span := max(elapsed, 0) + slack
	if step.Energy > most.Over(span) {
		return Step{Outcome: Reset}
	}
	if plausible := min(most, likely).Over(span); rng != 0 && plausible >= step.Energy && plausible-step.Energy >= rng {
		step.Outcome = Uncertain
	}
	return step
}

// WrapTime gives how long a counter of the given range lasts at a steady power. A counter without a range (0),
// or one that gets no power, never wraps: the longest Duration, 292 years.
func WrapTime(rng energy.Microjoules, power energy.Watts) time.Duration {
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
