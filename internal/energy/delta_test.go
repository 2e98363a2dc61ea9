package energy

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	intelRange Microjoules = 262143328850
	amdRange   Microjoules = 65532610987
)

func TestDelta(t *testing.T) {
	const J = Joule
	for _, c := range []struct {
		what           string
		prev, cur, rng Microjoules
		elapsed        time.Duration
		most           Watts
		want           Step
	}{
		{"an ordinary second", 5 * J, 105 * J, intelRange, time.Second, 1000, Step{Moved, 100 * J, 0}},
		{"a counter at rest", 5 * J, 5 * J, intelRange, time.Second, 1000, Step{Moved, 0, 0}},
		{"a counter at rest for a day is no wrap", 5 * J, 5 * J, intelRange, 24 * time.Hour, 1000, Step{Moved, 0, 0}},
		{"a wrap", intelRange - 40*J, 60 * J, intelRange, time.Second, 1000, Step{Wrapped, 100 * J, 0}},
		{"a wrap exactly to 0", intelRange - 40*J, 0, intelRange, time.Second, 1000, Step{Wrapped, 40 * J, 0}},
		{"a wrap from the range itself", intelRange, 60 * J, intelRange, time.Second, 1000, Step{Wrapped, 60 * J, 0}},
		{"a wrap from the range to 0 is no energy", intelRange, 0, intelRange, time.Second, 1000, Step{Wrapped, 0, 0}},
		{"a wrap after 100 s", amdRange - 10*J, 30_000 * J, amdRange, 100 * time.Second, 600, Step{Wrapped, 30_010 * J, 0}},
		{"a reset to 0 in mid-range", 100_000 * J, 0, intelRange, time.Second, 1000, Step{Reset, 0, 0}},
		{"a reset to anywhere below", 100_000 * J, 99_000 * J, intelRange, time.Second, 1000, Step{Reset, 0, 0}},
		{"a value cut off", 100_000 * J, 10_000 * J, intelRange, time.Second, 1000, Step{Reset, 0, 0}},
		{"and the good one after it", 10_000 * J, 100_100 * J, intelRange, time.Second, 1000, Step{Reset, 0, 0}},
		{"back without a range", 100 * J, 99 * J, 0, time.Hour, 1000, Step{Reset, 0, 0}},
		{"forward without a range", 100 * J, 199 * J, 0, time.Second, 1000, Step{Moved, 99 * J, 0}},
		{"a day without a range", 100 * J, 10_000_100 * J, 0, 24 * time.Hour, 1000, Step{Moved, 10_000_000 * J, 0}},
		{"back from beyond the range", amdRange + 1, 5, amdRange, time.Hour, 1000, Step{Reset, 0, 0}},
		{"a long gap, forward", 5 * J, 105 * J, amdRange, 70 * time.Second, 1000, Step{Uncertain, 100 * J, 0}},
		{"a long gap, over a wrap", amdRange - 40*J, 60 * J, amdRange, 70 * time.Second, 1000, Step{Uncertain, 100 * J, 0}},
		{"a gap just short of one more range", 0, 100 * J, amdRange, 64 * time.Second, 1000, Step{Moved, 100 * J, 0}},
		{"a gap in which exactly one more range fits", 0, 1000*J - amdRange%(1000*J), amdRange, 65 * time.Second, 1000, Step{Uncertain, 1000*J - amdRange%(1000*J), 0}},
		{"and one in which it does not, by 1 µJ", 0, 1000*J - amdRange%(1000*J) + 1, amdRange, 65 * time.Second, 1000, Step{Moved, 1000*J - amdRange%(1000*J) + 1, 0}},
		{"a gap in which one more range does not fit", 0, 50_000 * J, amdRange, 110 * time.Second, 1000, Step{Moved, 50_000 * J, 0}},
		{"no time at all", 100 * J, 101 * J, intelRange, 0, 1000, Step{Moved, 1 * J, 0}},
		{"a clock that went back", 100 * J, 101 * J, intelRange, -time.Hour, 1000, Step{Moved, 1 * J, 0}},
		{"no power is possible", 100 * J, 101 * J, intelRange, time.Hour, 0, Step{Reset, 0, 0}},
		{"the largest counters", math.MaxUint64 - 1, 5, math.MaxUint64, time.Second, 1000, Step{Wrapped, 6, 0}},
	} {
		if got := Delta(c.prev, c.cur, c.rng, 0, Gap{Elapsed: c.elapsed, Most: c.most, Likely: c.most}); got != c.want {
			t.Errorf("%s: %v %v, want %v %v", c.what, got.Outcome, got.Energy, c.want.Outcome, c.want.Energy)
		}
	}
}

// Whatever a counter does below the bound, its steps sum up to what it counted.
func TestDeltaOfATrueCounterIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		rng := 1 + Microjoules(random.Uint64N(uint64(intelRange)))
		var most Watts = 2000
		// A step within the slack of a second and less than a range is never ambiguous here.
		longest := min(most.Over(time.Second), rng-1)
		truth := Microjoules(random.Uint64N(uint64(rng)))
		start, sum, wraps := truth, Microjoules(0), 0
		for range 1000 {
			prev := truth
			truth += Microjoules(random.Uint64N(uint64(longest) + 1))
			step := Delta(prev%rng, truth%rng, rng, 0, Gap{Most: most, Likely: most})
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

// What a machine likely draws decides over what is just possible.
func TestDeltaByWhatIsLikely(t *testing.T) {
	const J = Joule
	for _, c := range []struct {
		what           string
		prev, cur, rng Microjoules
		gap            Gap
		want           Step
	}{
		{"never above 40 W, it does not wrap in five minutes, though a thousand watts would", 1000, 20 * J, intelRange,
			Gap{Elapsed: 5 * time.Minute, Likely: 80}, Step{Moved, 20*J - 1000, 0}},
		{"a thousand watts are likely", 1000, 20 * J, intelRange,
			Gap{Elapsed: 5 * time.Minute, Likely: 1000}, Step{Uncertain, 20*J - 1000, 0}},
		{"two hours", 1000, 20 * J, intelRange, Gap{Elapsed: 2 * time.Hour, Likely: 80}, Step{Uncertain, 20*J - 1000, 0}},
		{"a reset during 70 s of sleep on a machine of 15 W", 30_430 * J, 0, amdRange,
			Gap{Elapsed: 70 * time.Second, Slept: true, Likely: 30}, Step{Reset, 0, 0}},
		{"the same where sleep is not known", 30_430 * J, 0, amdRange, Gap{Elapsed: 70 * time.Second, Likely: 30}, Step{Reset, 0, 0}},
		{"a fall over a sleep is a reset, however likely a wrap", amdRange - J, J, amdRange,
			Gap{Elapsed: 70 * time.Second, Slept: true, Likely: 1000}, Step{Reset, 0, 0}},
		{"forward over a sleep", J, 3 * J, amdRange, Gap{Elapsed: 70 * time.Second, Slept: true, Likely: 30}, Step{Moved, 2 * J, 0}},
		{"one joule backwards after 66 s", 5 * J, 4 * J, amdRange, Gap{Elapsed: 66 * time.Second, Likely: 30}, Step{Reset, 0, 0}},
		{"one joule backwards after 66 s, on a large machine", 5 * J, 4 * J, amdRange,
			Gap{Elapsed: 66 * time.Second, Likely: 500}, Step{Reset, 0, 0}},
		{"one joule backwards after 262 s", 5 * J, 4 * J, intelRange, Gap{Elapsed: 262 * time.Second, Likely: 30}, Step{Reset, 0, 0}},
		{"a wrap that is likely", amdRange - 900*J, 100 * J, amdRange, Gap{Elapsed: 66 * time.Second, Likely: 30}, Step{Wrapped, 1000 * J, 0}},
		{"so far forward is not likely, but nothing else is", 0, 1000 * J, amdRange,
			Gap{Elapsed: 5 * time.Second, Likely: 30}, Step{Moved, 1000 * J, 0}},
		{"so far forward is not likely, and a whole range is possible", 0, 40_000 * J, amdRange,
			Gap{Elapsed: 70 * time.Second, Likely: 30}, Step{Uncertain, 40_000 * J, 0}},
	} {
		c.gap.Most = 1000
		if got := Delta(c.prev, c.cur, c.rng, 0, c.gap); got != c.want {
			t.Errorf("%s: %v %v, want %v %v", c.what, got.Outcome, got.Energy, c.want.Outcome, c.want.Energy)
		}
	}
}

func FuzzDelta(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint64(3), int64(time.Second), 100.0)
	f.Add(uint64(math.MaxUint64), uint64(0), uint64(math.MaxUint64), int64(math.MaxInt64), math.Inf(1))
	f.Add(uint64(5), uint64(4), uint64(0), int64(math.MinInt64), math.NaN())
	f.Fuzz(func(t *testing.T, prev, cur, rng uint64, elapsed int64, most float64) {
		gap := Gap{Elapsed: time.Duration(elapsed), Most: Watts(most), Likely: Watts(most)}
		step := Delta(Microjoules(prev), Microjoules(cur), Microjoules(rng), 0, gap)
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
		rng   Microjoules
		power Watts
		want  time.Duration
	}{
		{intelRange, 400, 655358 * time.Millisecond},
		{amdRange, 400, 163831 * time.Millisecond},
		{0, 400, forever},
		{intelRange, 0, forever},
		{intelRange, -1, forever},
		{intelRange, Watts(math.NaN()), forever},
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
