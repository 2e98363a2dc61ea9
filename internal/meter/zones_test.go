package meter

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/rapl"
	"github.com/scaph/scaph/internal/snapshot"
)

const (
	amdRange   energy.Microjoules = 65532610987
	intelRange energy.Microjoules = 262143328850
)

// newWorldOf makes a world with one package of a given range, whose counter begins at a given value.
func newWorldOf(rng, start energy.Microjoules) *world {
	w := newWorld()
	w.zones = []energy.Zone{{
		Path: "intel-rapl:0", Name: "package-0", Die: -1, Range: rng, Unit: rapl.Unit(rng), Source: energy.SourcePowercap,
	}}
	w.counters, w.given = []energy.Microjoules{start}, make([]energy.Microjoules, 1)
	w.totals[shell] = 0
	return w
}

// rest ticks for some seconds in which the machine draws so much and hardly runs.
func (w *world) rest(m *Meter, seconds int, power ...energy.Watts) {
	for range seconds {
		w.pass(time.Second, power, use(shell, 10*time.Millisecond))
		m.Tick()
	}
}

// A counter that fell in a gap is energy only if a wrap is likely and the machine did not sleep; and what is in
// doubt teaches neither the floor nor the peak.
func TestFallInAGap(t *testing.T) {
	const J = energy.Joule
	for _, c := range []struct {
		what           string
		rng            energy.Microjoules
		before, after  energy.Microjoules
		gap            time.Duration
		slept, restart bool
		power          energy.Watts // before the gap; 0: none was seen
		gained         energy.Microjoules
		resets         uint64
	}{
		{"70 s of sleep", amdRange, 30_430 * J, 0, 70 * time.Second, true, false, 15, 0, 1},
		{"70 s of sleep, over a restart", amdRange, 30_430 * J, 0, 70 * time.Second, true, true, 15, 0, 1},
		{"70 s of sleep, in which a wrap would be likely", amdRange, amdRange - J, J, 70 * time.Second, true, false, 15, 0, 1},
		{"the same over a restart", amdRange, amdRange - J, J, 70 * time.Second, true, true, 15, 0, 1},
		{"a reset, awake", amdRange, 30_430 * J, 0, 70 * time.Second, false, false, 15, 0, 1},
		{"one joule backwards", amdRange, 30_430 * J, 30_429 * J, 66 * time.Second, false, false, 15, 0, 1},
		{"one joule backwards, over a restart", amdRange, 30_430 * J, 30_429 * J, 66 * time.Second, false, true, 15, 0, 1},
		{"one joule backwards, with no power seen", amdRange, 30_430 * J, 30_429 * J, 66 * time.Second, false, false, 0, 0, 1},
		{"one joule backwards, Intel", intelRange, 30_430 * J, 30_429 * J, 262 * time.Second, false, false, 15, 0, 1},
		{"262 s of sleep, Intel", intelRange, 30_430 * J, 0, 262 * time.Second, true, false, 15, 0, 1},
		{"a wrap", amdRange, amdRange - 40*J, 1000 * J, 70 * time.Second, false, false, 15, 1040*J + 15, 0},
		{"a wrap, over a restart", amdRange, amdRange - 40*J, 1000 * J, 70 * time.Second, false, true, 15, 1040*J + 15, 0},
		{"forward over a sleep", amdRange, 30_430 * J, 30_440 * J, 70 * time.Second, true, false, 15, 10 * J, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			before := c.before
			if c.power > 0 {
				before -= c.power.Over(30 * time.Second)
			}
			w := newWorldOf(c.rng, before)
			m := w.start(t)
			m.Tick()
			if c.power > 0 {
				w.rest(m, 30, c.power)
			}
			if w.counters[0] != c.before {
				t.Fatalf("the counter is at %v before the gap, want %v", w.counters[0], c.before)
			}
			was, floor := m.Latest().Zones[0].Total, m.zones[0].floor.Watts
			w.pass(c.gap, []energy.Watts{0}, use(shell, 10*time.Millisecond))
			if c.slept {
				w.asleep += c.gap - time.Second
			}
			w.counters[0] = c.after
			if c.restart {
				m = w.start(t)
			}
			m.Tick()
			z := m.Latest().Zones[0]
			if z.Total-was != c.gained || z.Resets != c.resets || z.Uncertain != 0 {
				t.Errorf("it gained %v (%d resets, %d uncertain), want %v (%d, 0)", z.Total-was, z.Resets, z.Uncertain, c.gained, c.resets)
			}
			identity(t, m.Latest())
			w.rest(m, 30, 15)
			if doubt := c.slept || c.resets > 0; doubt && c.power > 0 && (m.zones[0].floor.Watts < floor || m.zones[0].peak > 15.01) {
				t.Errorf("floor %v, was %v; peak %v, want 15 W", m.zones[0].floor.Watts, floor, m.zones[0].peak)
			}
		})
	}
}

// A step so far forward that a jump is likelier is counted, told, and never taken for the machine's power.
func TestUnlikelyStepForward(t *testing.T) {
	w := newWorldOf(amdRange, 0)
	m := w.start(t)
	m.Tick()
	w.rest(m, 30, 15)
	w.pass(70*time.Second, []energy.Watts{500}, use(shell, time.Second))
	m.Tick()
	z := m.Latest().Zones[0]
	if z.Total != (30*15+70*500)*energy.Joule || z.Uncertain != 1 || m.zones[0].peak > 15.01 {
		t.Errorf("total %v, %d uncertain, peak %v", z.Total, z.Uncertain, m.zones[0].peak)
	}
	identity(t, m.Latest())
	// A load that rises from one tick to the next is nothing unlikely.
	w.rest(m, 1, 500)
	if z = m.Latest().Zones[0]; z.Uncertain != 1 || m.zones[0].peak < 499 {
		t.Errorf("a rising load: %d uncertain, peak %v", z.Uncertain, m.zones[0].peak)
	}
}

// The µJ of a thousand wraps that no range tells are counted to the last, with a restart after each.
func TestWrapsOverRestarts(t *testing.T) {
	for name, unit := range map[string]uint64{"Intel": 61035, "AMD": 15258} {
		t.Run(name, func(t *testing.T) {
			show := func(units uint64) energy.Microjoules { return energy.Microjoules((units & 0xffffffff) * unit / 1000) }
			w := newWorldOf(show(0xffffffff), 0)
			m := w.start(t)
			m.Tick()
			const half = 1 << 31
			for i := range uint64(2000) {
				w.boot += 100 * time.Minute
				w.wall = w.wall.Add(100 * time.Minute)
				w.counters[0] = show((i + 1) * half)
				m = w.start(t)
				m.zones[0].peak = 400 // watts: more than a wrap in the gap, less than two
				w.boot -= 100*time.Minute - 3*time.Minute
				m.Tick()
			}
			// 1,000 × 2^32 units, to within the µJ that is cut off
			want := energy.Microjoules(1000 * (unit << 32 / 1000 * 1000) / 1000)
			want += energy.Microjoules(1000 * (unit << 32 % 1000) / 1000)
			if z := m.Latest().Zones[0]; z.Total != want || z.Resets != 0 {
				t.Errorf("total %d µJ after 1,000 wraps, want %d; %d resets", z.Total, want, z.Resets)
			}
		})
	}
}

// shown are a host's and its consumers' watts.
func shownPower(s *snapshot.Snapshot) (host, consumers energy.Watts) {
	for _, p := range s.Processes {
		consumers += p.Power
	}
	return s.Host.Power, consumers
}

// A zone that cannot be read, or does not move any more, draws nothing that anybody knows of.
func TestNoPowerOfASilentZone(t *testing.T) {
	for _, failed := range []bool{true, false} {
		w := newWorldOf(amdRange, 0)
		w.zones = append(w.zones, energy.Zone{
			Path: "intel-rapl:0:0", Name: "dram", Kind: energy.DRAM, Die: -1, Range: amdRange, Source: energy.SourcePowercap,
		})
		w.counters, w.given = append(w.counters, 7), append(w.given, 0)
		m := w.start(t)
		m.Tick()
		second := func(power energy.Watts) (host, consumers energy.Watts) {
			w.pass(time.Second, []energy.Watts{power, 10}, use(shell, 4*time.Second))
			m.Tick()
			identity(t, m.Latest())
			return shownPower(m.Latest())
		}
		for range 20 { // until its series counts
			if host, consumers := second(100); host != 110 || consumers != 110 {
				t.Fatalf("host %v, consumers %v; want 110 W", host, consumers)
			}
		}
		if failed {
			w.broken[0] = true
			if host, consumers := second(0); host != 10 || consumers != 10 {
				t.Errorf("unreadable: host %v, consumers %v; want the 10 W of the other zone", host, consumers)
			}
		} else {
			for range 3 { // it may be late
				if host, consumers := second(0); host != 110 || consumers != 110 {
					t.Errorf("due: host %v, consumers %v; want 110 W", host, consumers)
				}
			}
			if host, consumers := second(0); host != 10 || consumers != 10 || !m.Latest().Zones[0].Frozen {
				t.Errorf("frozen: host %v, consumers %v; want the 10 W of the other zone", host, consumers)
			}
		}
		w.broken[0] = false
		w.pass(0, []energy.Watts{0, 0}, nil)
		second(1000) // what it used meanwhile shows when it moves
		if host, _ := second(100); host != 110 || m.Latest().Zones[0].Frozen || m.Latest().Zones[0].Total != 3100*energy.Joule {
			t.Errorf("it moves again: host %v, total %v", host, m.Latest().Zones[0].Total)
		}
	}
}

// Without CPU time no zone is settled, and so none shows power; the next tick shows what it gave in both.
func TestNoPowerWithoutCPUTime(t *testing.T) {
	w := newWorldOf(amdRange, 0)
	m := w.start(t)
	m.Tick()
	w.rest(m, 3, 100)
	w.noCPU = true
	w.rest(m, 1, 100)
	if host, consumers := shownPower(m.Latest()); host != 0 || consumers != 0 {
		t.Errorf("host %v, consumers %v", host, consumers)
	}
	w.noCPU = false
	w.rest(m, 1, 100)
	if s := m.Latest(); s.Host.Power != 100 || s.Host.Energy != 500*energy.Joule {
		t.Errorf("host %v at %v, want 500 J at 100 W", s.Host.Energy, s.Host.Power)
	}
}

// A guest's counter moves when its host publishes: every 10 to 12 s. That is not frozen.
func TestGuestsPace(t *testing.T) {
	w := newWorldOf(intelRange, 5)
	m := w.start(t)
	m.Tick()
	next, owed := 4, energy.Microjoules(0) // the first publish comes at any time
	for second := 1; second < 600; second++ {
		w.pass(time.Second, []energy.Watts{0}, use(shell, time.Second))
		if owed += 10 * energy.Joule; second == next {
			w.counters[0] += owed
			owed, next = 0, second+10+second%3
		}
		m.Tick()
		if host, _ := shownPower(m.Latest()); second >= 4 && host == 0 {
			t.Fatalf("second %d: no power, the next publish is at %d", second, next)
		}
	}
	for range 40 { // the host has gone
		w.pass(time.Second, []energy.Watts{0}, use(shell, time.Second))
		m.Tick()
	}
	if host, consumers := shownPower(m.Latest()); host != 0 || consumers != 0 {
		t.Errorf("after 40 s: host %v, consumers %v", host, consumers)
	}
}

// newDies makes a world with one package of dies whose counters begin at the given values.
func newDies(t *testing.T, start ...energy.Microjoules) (*world, func() *Meter) {
	w := newWorld()
	w.zones, w.counters, w.given = nil, start, make([]energy.Microjoules, len(start))
	for die := range start {
		id := string(rune('0' + die))
		w.zones = append(w.zones, energy.Zone{
			Path: "intel-rapl:" + id, Name: "package-0-die-" + id, Die: die, Range: amdRange, Unit: rapl.Unit(amdRange),
			Source: energy.SourcePowercap,
		})
	}
	w.totals[shell], w.totals[other] = 0, 0
	return w, func() *Meter {
		o := w.start(t).Options
		o.DomainOf = func(z energy.Zone) int { return z.Die }
		o.CPU = &dieCPU{worldCPU: worldCPU{world: w}, dies: len(start)}
		m, err := New(o, w.kept)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

// A dieCPU is a world's CPU time with shell on die 0 and all else on the last die.
type dieCPU struct {
	worldCPU
	dies int
}

func (c *dieCPU) Sample(s *cputime.Sample) error {
	if err := c.worldCPU.Sample(s); err != nil {
		return err
	}
	for i := range s.Processes {
		p := &s.Processes[i]
		delta := make([]uint64, c.dies)
		if p.ID == shell {
			delta[0] = p.Delta[0]
		} else {
			delta[c.dies-1] = p.Delta[0]
		}
		p.Delta = delta
	}
	s.Unseen = make([]uint64, c.dies)
	return nil
}

// Two dies show one counter: 204 J are 204 J, from the first tick on, and whoever ran on either pays its part.
func TestMirroredDies(t *testing.T) {
	w, start := newDies(t, 1_000_000, 1_000_000)
	m := start()
	m.Tick()
	seen := watcher{}
	both := use(shell, time.Second, other, 3*time.Second)
	for range 3 {
		w.pass(time.Second, []energy.Watts{68, 68}, both)
		m.Tick()
		identity(t, m.Latest())
		seen.see(t, m.Latest())
	}
	s := m.Latest()
	if s.Host.Energy != 204*energy.Joule || s.Host.Power != 68 {
		t.Errorf("host %v at %v, want 204 J at 68 W", s.Host.Energy, s.Host.Power)
	}
	if s.Zones[1].Mirrors != s.Zones[0].Path || s.Zones[0].Mirrors != "" {
		t.Errorf("mirrors %q and %q", s.Zones[0].Mirrors, s.Zones[1].Mirrors)
	}
	if got := power(s, other); got < 50.9 || got > 51.1 {
		t.Errorf("the process on the other die draws %v, want three quarters of 68 W", got)
	}
	for i := range 100 { // for as long as it takes to be sure, the readings a little apart
		w.pass(time.Second, []energy.Watts{68, 68}, both)
		w.counters[1] += energy.Microjoules(i % 2 * 1000)
		m.Tick()
		w.counters[1] -= energy.Microjoules(i % 2 * 1000)
		s = m.Latest()
		seen.see(t, s)
		if i%30 == 29 {
			m = start()
		}
	}
	if s.Host.Energy != 103*68*energy.Joule {
		t.Errorf("host %v after 103 s at 68 W", s.Host.Energy)
	}
	w.pass(time.Second, []energy.Watts{68, 0}, both) // read between the updates of the two
	m.Tick()
	w.counters[1] = w.counters[0]
	w.pass(time.Second, []energy.Watts{68, 68}, both)
	m.Tick()
	if s = m.Latest(); s.Host.Energy != 105*68*energy.Joule || s.Zones[1].Mirrors == "" {
		t.Errorf("host %v after 105 s at 68 W; mirrors %q", s.Host.Energy, s.Zones[1].Mirrors)
	}
	// They part: from here on each counts, and nothing is lost.
	for range 5 {
		w.pass(time.Second, []energy.Watts{68, 20}, both)
		m.Tick()
		seen.see(t, m.Latest())
		identity(t, m.Latest())
	}
	want := (110*68 + 5*20) * energy.Joule
	if s = m.Latest(); s.Host.Energy != want || s.Zones[1].Mirrors != "" {
		t.Errorf("host %v, want 110 s at 68 W and 5 s at 20 W; mirrors %q", s.Host.Energy, s.Zones[1].Mirrors)
	}
	if got := power(s, other); got != 20 {
		t.Errorf("the process on the other die draws %v, want its 20 W", got)
	}
}

func power(s *snapshot.Snapshot, id proc.ID) energy.Watts {
	i := slices.IndexFunc(s.Processes, func(p snapshot.Process) bool { return p.PID == id.PID })
	if i < 0 {
		return 0
	}
	return s.Processes[i].Power
}

// Dies that begin at the same value and go apart are two counters, of which nothing is lost; those that begin apart were
// never taken for one.
func TestDiesOfTheirOwn(t *testing.T) {
	for _, second := range []energy.Microjoules{1_000_000, 5_000_000_000} {
		w, start := newDies(t, 1_000_000, second)
		m := start()
		m.Tick()
		for i := range 10 {
			w.pass(time.Second, []energy.Watts{68, 60 + energy.Watts(i%2)}, use(shell, time.Second, other, time.Second))
			m.Tick()
			identity(t, m.Latest())
		}
		if s := m.Latest(); s.Host.Energy != (680+605)*energy.Joule || s.Zones[1].Mirrors != "" {
			t.Errorf("start %v: host %v, want 1285 J; mirrors %q", second, s.Host.Energy, s.Zones[1].Mirrors)
		}
	}
}

// A state of a run that counted both dies goes on with one, and no total falls.
func TestMirrorFoundLater(t *testing.T) {
	w, start := newDies(t, 1_000_000, 9_000_000_000)
	m := start()
	m.Tick()
	w.pass(time.Second, []energy.Watts{10, 10}, use(shell, time.Second))
	m.Tick()
	seen := watcher{}
	seen.see(t, m.Latest())
	w.counters[1] = w.counters[0]
	m = start()
	for range 80 {
		w.pass(time.Second, []energy.Watts{10, 10}, use(shell, time.Second))
		m.Tick()
		identity(t, m.Latest())
		seen.see(t, m.Latest())
	}
	if s := m.Latest(); s.Zones[1].Total != 10*energy.Joule || s.Zones[0].Total != 810*energy.Joule {
		t.Errorf("totals %v and %v, want 810 J and 10 J", s.Zones[0].Total, s.Zones[1].Total)
	}
}

// A source that loses ends at every tick is told of once, and each is counted.
func TestLostEndsAreToldOnce(t *testing.T) {
	w := newWorld()
	o := w.start(t).Options
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	o.CPU = &losing{worldCPU{world: w}}
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		w.pass(time.Second, watts, nil)
		m.Tick()
	}
	if n := strings.Count(log.String(), "ends of processes were lost"); n != 1 {
		t.Errorf("told %d times: %s", n, log.String())
	}
	if e := m.Latest().Errors; len(e) != 1 || e[0] != (snapshot.ErrorCount{Component: "cputime", Count: 35}) {
		t.Errorf("errors %v, want 35 of cputime", e)
	}
}

type losing struct{ worldCPU }

func (c *losing) Sample(s *cputime.Sample) error {
	s.Lost, s.Faults = 7, 7
	return c.worldCPU.Sample(s)
}

// A host that goes from idle to full load between two ticks wraps its counter as any other: what was seen before says
// nothing over so short a time.
func TestWrapAtTheFirstLoad(t *testing.T) {
	w := newWorld()
	w.totals[shell] = 0
	w.counters[0] = testRange - 150*energy.Joule
	m := w.start(t)
	m.Tick()
	for range 10 {
		w.pass(time.Second, []energy.Watts{12, 0, 0}, nil)
		m.Tick()
	}
	w.pass(time.Second, []energy.Watts{600, 0, 0}, use(shell, time.Second))
	m.Tick()
	if z := m.Latest().Zones[0]; z.Total != 720*energy.Joule || z.Resets != 0 {
		t.Errorf("counted %v with %d resets, given 720 J", z.Total, z.Resets)
	}
	identity(t, m.Latest())
}
