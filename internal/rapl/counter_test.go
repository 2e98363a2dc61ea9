package rapl

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

const (
	intelRange energy.Microjoules = 262143328850
	amdRange   energy.Microjoules = 65532610987
)

// A register is the 32 bits behind a zone, and shows what the kernel makes of them: rapl_unit_xlate in
// drivers/powercap/intel_rapl_common.c, with its ENERGY_STATUS_MASK of 32 bits and ENERGY_UNIT_SCALE of 1000.
type register struct {
	unit  uint64 // nJ: rapl_package.energy_unit, or the domain's own
	value uint32
}

func (r register) xlate(value uint64) energy.Microjoules {
	return energy.Microjoules(value * r.unit / 1000)
}
func (r register) energyUJ() energy.Microjoules         { return r.xlate(uint64(r.value)) }
func (r register) maxEnergyRangeUJ() energy.Microjoules { return r.xlate(0xffffffff) }

// Over 1,000 wraps, what is counted stays within the µJ that the kernel cuts off of each reading.
func TestDeltaOfARegisterIsExact(t *testing.T) {
	for name, unit := range map[string]uint64{
		"Intel": 1000 * 1000000 >> 14, "AMD": 1000 * 1000000 >> 16, "server dram": 15300, "Atom": 1000 << 5, "psys of Xeon": 1000000000,
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(3, unit))
			r := register{unit: unit, value: random.Uint32()}
			rng := r.maxEnergyRangeUJ()
			if Unit(rng) != unit {
				t.Fatalf("range %d tells a unit of %d nJ, want %d", rng, Unit(rng), unit)
			}
			first := r.energyUJ()
			counted, carry, wraps := energy.Microjoules(0), uint64(0), 0
			truth := uint64(r.value) // units, in 64 bits
			for wraps < 1000 {
				prev := r
				steps := random.Uint64N(1 << 31)
				truth += steps
				r.value += uint32(steps)
				if r.value < prev.value {
					wraps++
				}
				most := energy.Watts(4 * rng.Joules())
				step := energy.Delta(prev.energyUJ(), r.energyUJ(), rng, Unit(rng), energy.Gap{Elapsed: time.Second, Most: most, Likely: most})
				carry += step.Nano
				counted += step.Energy + energy.Microjoules(carry/1000)
				carry %= 1000

				// The register in 64 bits, as the kernel would show it: truth × unit / 1000, in two steps because of its size.
				high, low := bits.Mul64(truth, unit)
				want, _ := bits.Div64(high, low, 1000)
				if shown := uint64(first + counted); shown+1 < want || shown > want {
					t.Fatalf("after %d wraps: %d µJ, the register has counted %d", wraps, shown, want)
				}
			}
		})
	}
}

// A range that the kernel cannot show has no register behind it, and wraps at the range.
func TestUnit(t *testing.T) {
	for rng, want := range map[energy.Microjoules]uint64{
		0: 0, intelRange: 61035, amdRange: 15258, 65712999613: 15300, intelRange - 1: 0, intelRange + 1: 0,
		100_000 * energy.Joule: 0, 1: 0, math.MaxUint64: 0, math.MaxUint64 / 1000: 0,
	} {
		if got := Unit(rng); got != want {
			t.Errorf("range %d: unit %d nJ, want %d", rng, got, want)
		}
	}
}
