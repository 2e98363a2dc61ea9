package rapl

import (
	"math"

	"github.com/scaph/scaph/internal/energy"
)

// Bounds on power for energy.Delta: more than anything really draws, so that no real energy is taken for a
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

// Unit returns the step, in nJ, of the 32-bit register behind a counter with the given range; 0 if there is none.
//
// The kernel shows register × unit / 1000, rounded down, and as the range what the largest register
// gives (rapl_unit_xlate and get_max_energy_counter in drivers/powercap/intel_rapl_common.c). So the range tells
// the unit, 61035 or 15258 nJ for instance. A range that the kernel would not show has none.
func Unit(rng energy.Microjoules) uint64 {
	if rng > math.MaxUint64/1000 {
		return 0
	}
	unit := (uint64(rng)*1000 + math.MaxUint32 - 1) / math.MaxUint32
	if unit > math.MaxUint32 || math.MaxUint32*unit/1000 != uint64(rng) {
		return 0
	}
	return unit
}
