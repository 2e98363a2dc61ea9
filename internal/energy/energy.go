// Package energy holds the units and the vocabulary that everything else speaks:
// microjoules, watts, and the zones of a RAPL-shaped sensor.
//
// Energy is counted in whole microjoules, the unit of the kernel's powercap files
// (Documentation/power/powercap/powercap.rst), so that sums are exact.
package energy

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Microjoules is an amount of energy, or the value of an energy counter, in µJ.
// The range, 1.8e19 µJ, lasts a 1 kW machine for 580 years.
type Microjoules uint64

// Common multiples.
const (
	Microjoule Microjoules = 1
	Millijoule             = 1000 * Microjoule
	Joule                  = 1000 * Millijoule
)

// Joules gives the amount in J, the base unit that is exported. A float64 holds whole
// microjoules exactly up to 2^53 µJ (9.0e9 J, 285 years of a watt).
func (e Microjoules) Joules() float64 { return float64(e) / 1e6 }

// KilowattHours gives the amount in kWh (3.6e12 µJ).
func (e Microjoules) KilowattHours() float64 { return float64(e) / 3.6e12 }

// Per gives the mean power of the amount over d; 0 for a d that is not positive.
func (e Microjoules) Per(d time.Duration) Watts {
	if d <= 0 {
		return 0
	}
	return Watts(e.Joules() / d.Seconds())
}

// String writes the amount in joules with its whole precision: "1.250000 J".
func (e Microjoules) String() string {
	return fmt.Sprintf("%d.%06d J", uint64(e)/1e6, uint64(e)%1e6)
}

// Watts is a power in W.
type Watts float64

// Over gives the energy of the power held for d, rounded down to whole µJ;
// 0 where the power or d is not positive.
func (w Watts) Over(d time.Duration) Microjoules {
	if !(w > 0) || d <= 0 {
		return 0
	}
	e := float64(w) * float64(d.Nanoseconds()) / 1e3 // W × ns = nJ
	if e >= math.MaxUint64 {
		return math.MaxUint64
	}
	return Microjoules(e)
}

// String writes the power with two decimals: "12.50 W".
func (w Watts) String() string { return strconv.FormatFloat(float64(w), 'f', 2, 64) + " W" }
