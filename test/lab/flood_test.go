//go:build lab

package lab

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/scaph/scaph/test/lab/flood"
	"github.com/scaph/scaph/test/lab/reads"
)

// A spell is how everybody else fared for some time.
type spell struct {
	other, host reads.Report // the other guest's reader, and one of its counter on the host
	ticks       float64
	duration    float64 // s, mean of a tick
	lateness    float64 // s, mean of a tick
	slowest     time.Duration
}

func (s spell) String() string {
	return fmt.Sprintf("other guest %.0f reads/s, median %s; host %.0f reads/s, median %s; %.0f ticks of %.1f ms, %.1f ms late, at most %s apart",
		rate(s.other), s.other.Median.Round(time.Microsecond), rate(s.host), s.host.Median.Round(time.Microsecond),
		s.ticks, 1000*s.duration, 1000*s.lateness, s.slowest.Round(time.Millisecond))
}

func rate(r reads.Report) float64 { return float64(r.Reads) / r.Took.Seconds() }

// testFlood has one guest do to its share what it can, while the other guest and the host read and the meter
// ticks. An emulated guest is slow, so the host floods the same directory too, as the virtiofsd of a fast guest
// would. On two processors nobody can be as fast as before; everybody must go on.
func testFlood(t *testing.T, g *ground) {
	flooding, other := g.guests[0], g.guests[1]
	for _, vm := range g.guests {
		vm.load(t, 0)
	}
	before := spend(t, g, other, 5*time.Second)
	t.Logf("before: %s", before)

	const opens, howLong, file = 10_000, 10 * time.Second, "intel-rapl:0/energy_uj"
	ctx, cancel := context.WithTimeout(t.Context(), howLong)
	defer cancel()
	var inside, outside flood.Report
	var floods sync.WaitGroup
	floods.Go(func() {
		ctx, cancel := context.WithTimeout(t.Context(), howLong+time.Minute) // for the answer
		defer cancel()
		query := url.Values{"dir": {share + "/intel-rapl"}, "file": {file}, "opens": {strconv.Itoa(opens)}, "for": {howLong.String()}}
		if err := flooding.ask(ctx, "flood", query, &inside); err != nil {
			t.Error(err)
		}
	})
	floods.Go(func() {
		var err error
		if outside, err = flood.Run(ctx, filepath.Join(flooding.source, "intel-rapl"), file, opens); err != nil {
			t.Error(err)
		}
	})
	under := spend(t, g, other, howLong)
	floods.Wait()
	t.Logf("under the flood: %s", under)
	t.Logf("the flood from the guest: %s", inside)
	t.Logf("the flood beside it: %s", outside)

	for who, r := range map[string][2]reads.Report{"the other guest": {before.other, under.other}, "the host": {before.host, under.host}} {
		if faults := r[0].Faults() + r[1].Faults(); faults > 0 {
			t.Errorf("%s had %d faults: %s, then %s", who, faults, r[0], r[1])
		}
		if rate(r[1]) < rate(r[0])/5 {
			t.Errorf("%s came to %.1f reads a second, after %.1f before the flood", who, rate(r[1]), rate(r[0]))
		}
	}
	for whence, r := range map[string]flood.Report{"from the guest": inside, "beside it": outside} {
		if r.Opens == 0 || r.Reads == 0 || r.Listings == 0 {
			t.Errorf("that was no flood %s: %s", whence, r)
		}
	}
	// How much a flood comes to is the machine's. That it is one shows in how many of its three threads were asking
	// at a time, if what they asked took as long as it took the ordinary reader meanwhile. The flood comes to about
	// 4, a listing being longer than a read, and the reader alone to 0.05.
	asking := func(rate float64, r reads.Report) float64 { return rate * r.Median.Seconds() }
	ordinary, flooded := asking(rate(before.host), before.host), asking(outside.Rate(), under.host)
	t.Logf("asking at a time: %.2f before, %.2f in the flood beside the guest", ordinary, flooded)
	if flooded < 0.5 {
		t.Errorf("that was no flood beside the guest: %.2f asked at a time", flooded)
	}
	if inside.Failures+outside.Failures > 0 {
		t.Error("the flood itself had failures")
	}
	if under.slowest > 3*time.Second {
		t.Errorf("ticks came %s apart, more than 3 intervals", under.slowest)
	}
}

// spend reads for some time in a guest, and its counter on the host, 50 times a second each, and looks at
// the ticks meanwhile.
func spend(t *testing.T, g *ground, vm guest, howLong time.Duration) spell {
	t.Helper()
	var s spell
	begin := g.watch.now()
	plan := reads.Plan{Path: guestEnergy, Mode: reads.Open, Rate: 50, For: howLong, Range: vmRange}
	done := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() { s.other = vm.carryOut(t, plan) })
	readers.Go(func() {
		plan := plan
		plan.Path = filepath.Join(vm.source, "intel-rapl:0", "energy_uj")
		var err error
		if s.host, err = reads.Run(t.Context(), plan); err != nil {
			t.Error(err)
		}
	})
	go func() {
		defer close(done)
		readers.Wait()
	}()
	s.slowest = longestBetweenTicks(g, done)
	end := g.watch.now()
	grew := func(name string) float64 { return end.Total(name) - begin.Total(name) }
	s.ticks = grew("scaph_sample_duration_seconds_count")
	s.duration = grew("scaph_sample_duration_seconds_sum") / s.ticks
	s.lateness = grew("scaph_sample_lateness_seconds_sum") / s.ticks
	return s
}

// longestBetweenTicks watches the count of ticks in the scrapes until done is closed.
func longestBetweenTicks(g *ground, done <-chan struct{}) time.Duration {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var longest time.Duration
	count, since := -1.0, time.Now()
	for {
		if now := g.watch.now().Total("scaph_sample_duration_seconds_count"); now != count {
			count, since = now, time.Now()
		}
		longest = max(longest, time.Since(since))
		select {
		case <-done:
			return longest
		case <-ticker.C:
		}
	}
}
