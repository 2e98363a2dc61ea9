package hwmon

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

const watt = 1_000_000 // µW

// A reading of a power, at a time in s.
type reading struct{ at, watts float64 }

func integrate(s *integral, readings ...reading) {
	for _, r := range readings {
		s.add(time.Minute+time.Duration(r.at*float64(time.Second)), uint64(r.watts*watt))
	}
}

func TestIntegral(t *testing.T) {
	for _, c := range []struct {
		what          string
		updates       time.Duration
		readings      []reading
		energy, bound energy.Microjoules
	}{
		{"one reading", 0, []reading{{0, 100}}, 0, 0},
		{"a steady power", 0, []reading{{0, 100}, {1, 100}, {2, 100}}, 200 * energy.Joule, 0},
		// half the change over the second, and the change over the second in which the reading does
		// not know when it came
		{"a step", 0, []reading{{0, 100}, {1, 200}}, 150 * energy.Joule, 150 * energy.Joule},
		{"down again", 0, []reading{{0, 100}, {1, 200}, {2, 100}}, 300 * energy.Joule, 300 * energy.Joule},
		{
			"the device's own values, every 5 s, are what is joined by trapezoids", 5 * time.Second,
			[]reading{{0, 100}, {1, 100}, {2, 100}, {3, 100}, {4, 100}, {5, 200}}, 750 * energy.Joule, 350 * energy.Joule,
		},
		{
			"a value that stays is one of the device's at each of its updates", 2 * time.Second,
			[]reading{{0, 100}, {1, 100}, {2, 100}, {3, 100}}, 200 * energy.Joule, 0,
		},
		{
			"updates every 3 s that nothing tells of are seen", 0,
			[]reading{{0, 10}, {3, 20}, {6, 10}, {7, 10}, {8, 10}, {9, 20}}, 135 * energy.Joule, (15 + 30 + 15 + 30 + 15 + 10) * energy.Joule,
		},
		{
			"a value that stands still for longer than that has a while of its own, within the device's interval", time.Minute,
			[]reading{{0, 100}, {5, 100}, {10, 100}, {15, 200}}, 1750 * energy.Joule, (250 + 500 + 5500) * energy.Joule,
		},
		{"no time", 0, []reading{{0, 100}, {0, 200}, {1, 200}}, 200 * energy.Joule, 0},
		{"the longest span", 0, []reading{{0, 100}, {10, 100}}, 1000 * energy.Joule, 0},
		{"one that is longer", 0, []reading{{0, 100}, {10.5, 100}, {11.5, 100}}, 100 * energy.Joule, 0},
		{"a clock that goes back", 0, []reading{{5, 100}, {4, 100}, {5, 100}}, 100 * energy.Joule, 0},
	} {
		s := integral{updates: c.updates}
		integrate(&s, c.readings...)
		if s.energy.microjoules != c.energy || s.bound.microjoules != c.bound {
			t.Errorf("%s: %v ± %v, want %v ± %v", c.what, s.energy.microjoules, s.bound.microjoules, c.energy, c.bound)
		}
	}
}

// Nothing is rounded away, however short the steps.
func TestIntegralIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var s integral
	exact, now, last := new(big.Int), time.Minute, uint64(0)
	for i := range 20_000 {
		power := random.Uint64N(uint64(MaxPower) * watt)
		step := time.Duration(random.Int64N(int64(time.Millisecond)))
		if i%100 == 0 {
			step = time.Duration(random.Int64N(int64(longestSpan)))
		}
		now += step
		s.add(now, power)
		if i > 0 {
			term := new(big.Int).SetUint64(last + power)
			exact.Add(exact, term.Mul(term, big.NewInt(int64(step))))
		}
		last = power
	}
	exact.Quo(exact, big.NewInt(2e9))
	if got := uint64(s.energy.microjoules); got != exact.Uint64() {
		t.Errorf("%d µJ, want %d", got, exact)
	}
}

// The truth is within the bound: a power that moves from value to value at its own pace, a device
// that shows the value of its last update, and a reader that looks when it likes.
func TestIntegralIsWithinItsBound(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		updates := time.Duration(1+random.Int64N(5000)) * time.Millisecond
		s := integral{updates: updates}
		truth := 0.0 // J
		value := func() uint64 { return random.Uint64N(500 * watt) }
		power, next := value(), value()
		// Between two updates the power goes from one value to the next in one step, at any time.
		step := time.Duration(random.Int64N(int64(updates) + 1))
		first, shown := time.Minute, power
		s.add(first, shown)
		look, lastUpdate := first, first
		for range 200 {
			look += time.Duration(1 + random.Int64N(int64(time.Second)))
			for lastUpdate+updates <= look {
				lastUpdate += updates
				truth += energyOf(power, step) + energyOf(next, updates-step)
				power, next = next, value()
				shown = power
				step = time.Duration(random.Int64N(int64(updates) + 1))
			}
			s.add(look, shown)
		}
		// What the integral has not come to yet, and the other way round.
		tail := energyOf(500*watt, max(distanceOf(s.last, lastUpdate), updates))
		got, bound := s.energy.microjoules.Joules(), s.bound.microjoules.Joules()
		if diff := truth - got; diff > bound+tail || -diff > bound+tail {
			t.Fatalf("updates every %v: %v J, truth %v J, bound %v J, %v since %v", updates, got, truth, bound, look-first, tail)
		}
		if bound > 3*500*(look-first).Seconds() {
			t.Fatalf("updates every %v: a bound of %v J says nothing", updates, bound)
		}
	}
}

func energyOf(power uint64, d time.Duration) float64 { return float64(power) / watt * d.Seconds() }

func distanceOf(a, b time.Duration) time.Duration { return max(a, b) - min(a, b) }
