package rapl

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

const (
	intelRange energy.Microjoules = 262143328850
	amdRange   energy.Microjoules = 65532610987
)

func TestDelta(t *testing.T) {
	const J = energy.Joule
	for _, c := range []struct {
		what           string
		prev, cur, rng energy.Microjoules
		elapsed        time.Duration
		most           energy.Watts
		want           Step
	}{
		{"an ordinary second", 5 * J, 105 * J, intelRange, time.Second, 1000, Step{Moved, 100 * J}},
		{"a counter at rest", 5 * J, 5 * J, intelRange, time.Second, 1000, Step{Moved, 0}},
		{"a counter at rest for a day is no wrap", 5 * J, 5 * J, intelRange, 24 * time.Hour, 1000, Step{Moved, 0}},
		{"a wrap", intelRange - 40*J, 60 * J, intelRange, time.Second, 1000, Step{Wrapped, 100 * J}},
		{"a wrap exactly to 0", intelRange - 40*J, 0, intelRange, time.Second, 1000, Step{Wrapped, 40 * J}},
		{"a wrap from the range itself", intelRange, 60 * J, intelRange, time.Second, 1000, Step{Wrapped, 60 * J}},
		{"a wrap from the range to 0 is no energy", intelRange, 0, intelRange, time.Second, 1000, Step{Wrapped, 0}},
		{"a wrap after 100 s", amdRange - 10*J, 30_000 * J, amdRange, 100 * time.Second, 600, Step{Wrapped, 30_010 * J}},
		{"a reset to 0 in mid-range", 100_000 * J, 0, intelRange, time.Second, 1000, Step{Reset, 0}},
		{"a reset to anywhere below", 100_000 * J, 99_000 * J, intelRange, time.Second, 1000, Step{Reset, 0}},
		{"a value cut off", 100_000 * J, 10_000 * J, intelRange, time.Second, 1000, Step{Reset, 0}},
		{"and the good one after it", 10_000 * J, 100_100 * J, intelRange, time.Second, 1000, Step{Reset, 0}},
		{"back without a range", 100 * J, 99 * J, 0, time.Hour, 1000, Step{Reset, 0}},
		{"forward without a range", 100 * J, 199 * J, 0, time.Second, 1000, Step{Moved, 99 * J}},
		{"a day without a range", 100 * J, 10_000_100 * J, 0, 24 * time.Hour, 1000, Step{Moved, 10_000_000 * J}},
		{"back from beyond the range", amdRange + 1, 5, amdRange, time.Hour, 1000, Step{Reset, 0}},
		{"a long gap, forward", 5 * J, 105 * J, amdRange, 70 * time.Second, 1000, Step{Uncertain, 100 * J}},
		{"a long gap, over a wrap", amdRange - 40*J, 60 * J, amdRange, 70 * time.Second, 1000, Step{Uncertain, 100 * J}},
		{"a gap just short of one more range", 0, 100 * J, amdRange, 64 * time.Second, 1000, Step{Moved, 100 * J}},
		{"a gap in which exactly one more range fits", 0, 1000*J - amdRange%(1000*J), amdRange, 65 * time.Second, 1000, Step{Uncertain, 1000*J - amdRange%(1000*J)}},
		{"and one in which it does not, by 1 µJ", 0, 1000*J - amdRange%(1000*J) + 1, amdRange, 65 * time.Second, 1000, Step{Moved, 1000*J - amdRange%(1000*J) + 1}},
		{"a gap in which one more range does not fit", 0, 50_000 * J, amdRange, 110 * time.Second, 1000, Step{Moved, 50_000 * J}},
		{"no time at all", 100 * J, 101 * J, intelRange, 0, 1000, Step{Moved, 1 * J}},
		{"a clock that went back", 100 * J, 101 * J, intelRange, -time.Hour, 1000, Step{Moved, 1 * J}},
		{"no power is possible", 100 * J, 101 * J, intelRange, time.Hour, 0, Step{Reset, 0}},
		{"the largest counters", math.MaxUint64 - 1, 5, math.MaxUint64, time.Second, 1000, Step{Wrapped, 6}},
	} {
		if got := Delta(c.prev, c.cur, c.rng, c.elapsed, c.most, c.most); got != c.want {
			t.Errorf("%s: %v %v, want %v %v", c.what, got.Outcome, got.Energy, c.want.Outcome, c.want.Energy)
		}
	}
}

// Whatever a counter does below the bound, its steps sum up to what it counted.
func TestDeltaOfATrueCounterIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		rng := 1 + energy.Microjoules(random.Uint64N(uint64(intelRange)))
		var most energy.Watts = 2000
		// A step within the slack of a second and less than a range is never ambiguous here.
		longest := min(most.Over(time.Second), rng-1)
		truth := energy.Microjoules(random.Uint64N(uint64(rng)))
		start, sum, wraps := truth, energy.Microjoules(0), 0
		for range 1000 {
			prev := truth
			truth += energy.Microjoules(random.Uint64N(uint64(longest) + 1))
			step := Delta(prev%rng, truth%rng, rng, 0, most, most)
			if step.Outcome == Wrapped {
				wraps++
			}
			if step.Outcome == Reset {
				t.Fatalf("%d to %d, range %d: %v", prev%rng, truth%rng, rng, step)
			}
			sum += step.Energy
		}
		if sum != truth-start {
			t.Fatalf("range %d: %d after %d wraps, want %d", rng, sum, wraps, truth-start)
		}
	}
}

// A machine that never drew more than 40 W does not wrap twice in five minutes, though a thousand watts would.
func TestUncertainByWhatIsLikely(t *testing.T) {
	const rng = 262143328850
	for _, c := range []struct {
		elapsed time.Duration
		likely  energy.Watts
		want    Outcome
	}{
		{5 * time.Minute, 1000, Uncertain},
		{5 * time.Minute, 80, Moved},
		{2 * time.Hour, 80, Uncertain},
	} {
		if got := Delta(1000, 20_000_000, rng, c.elapsed, 1000, c.likely); got.Outcome != c.want || got.Energy != 19_999_000 {
			t.Errorf("%v at up to %v: %v, want %v", c.elapsed, c.likely, got, c.want)
		}
	}
}

func FuzzDelta(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint64(3), int64(time.Second), 100.0)
	f.Add(uint64(math.MaxUint64), uint64(0), uint64(math.MaxUint64), int64(math.MaxInt64), math.Inf(1))
	f.Add(uint64(5), uint64(4), uint64(0), int64(math.MinInt64), math.NaN())
	f.Fuzz(func(t *testing.T, prev, cur, rng uint64, elapsed int64, most float64) {
		step := Delta(energy.Microjoules(prev), energy.Microjoules(cur), energy.Microjoules(rng), time.Duration(elapsed), energy.Watts(most), energy.Watts(most))
		e := uint64(step.Energy)
		switch step.Outcome {
		case Moved:
			if cur < prev || e != cur-prev {
				t.Errorf("moved %d to %d: %d", prev, cur, e)
			}
		case Wrapped:
			if cur >= prev || prev > rng || e != rng-prev+cur {
				t.Errorf("wrapped %d to %d of %d: %d", prev, cur, rng, e)
			}
		case Reset:
			if e != 0 {
				t.Errorf("a reset gives %d", e)
			}
		case Uncertain:
			if rng == 0 || cur == prev {
				t.Errorf("uncertain %d to %d of %d", prev, cur, rng)
			}
		}
	})
}

func TestWrapTime(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	for _, c := range []struct {
		rng   energy.Microjoules
		power energy.Watts
		want  time.Duration
	}{
		{intelRange, 400, 655358 * time.Millisecond},
		{amdRange, 400, 163831 * time.Millisecond},
		{0, 400, forever},
		{intelRange, 0, forever},
		{intelRange, -1, forever},
		{intelRange, energy.Watts(math.NaN()), forever},
		{math.MaxUint64, 1e-9, forever},
	} {
		if got := WrapTime(c.rng, c.power); got.Truncate(time.Millisecond) != c.want.Truncate(time.Millisecond) {
			t.Errorf("%v at %v: %v, want %v", c.rng, c.power, got, c.want)
		}
	}
}

func TestOutcomeNames(t *testing.T) {
	for outcome, want := range map[Outcome]string{Moved: "moved", Wrapped: "wrapped", Reset: "reset", Uncertain: "uncertain", 200: "uncertain"} {
		if got := outcome.String(); got != want {
			t.Errorf("%d: %s", outcome, got)
		}
	}
}
