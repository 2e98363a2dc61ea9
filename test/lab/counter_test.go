//go:build lab

package lab

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/test/lab/reads"
	"github.com/scaph/scaph/test/wait"
)

// testReads reads the guest's counter 100 times a second, by opening it each time, and slower
// through a held descriptor beside that: never a failure, and no value that the host did not publish.
//
// newlines is for how many seconds a value may come without its newline.
func testReads(t *testing.T, g *ground, vm guest, howLong time.Duration, newlines int) {
	open := reads.Plan{Path: guestEnergy, Mode: reads.Open, Rate: 100, For: howLong, Range: vmRange}
	held := reads.Plan{Path: guestEnergy, Mode: reads.Held, Rate: 10, For: howLong, Range: vmRange}
	reports := make(chan reads.Report, 1)
	go func() { reports <- vm.carryOut(t, held) }()
	opened := vm.carryOut(t, open)
	heldReport := <-reports

	// What was published last may not have been scraped yet.
	ended := time.Now()
	wait.Until(t, "two more publishes", 10*time.Second, func() bool {
		c := g.watch.of(vm.uuid)
		return len(c) >= 2 && c[len(c)-2].At.After(ended)
	})
	places := g.watch.of(vm.uuid).index()
	judgeReads(t, places, open, opened, newlines*open.Rate)
	judgeReads(t, places, held, heldReport, newlines*held.Rate)
}

// judgeReads holds a report against the host's series. So many newlines may be missing.
func judgeReads(t *testing.T, places map[uint64]int, p reads.Plan, r reads.Report, newlines int) {
	t.Helper()
	t.Logf("%s: %s", p.Mode, r)
	if faults := r.Faults() - r.Unterminated; faults > 0 {
		t.Errorf("%s: %d faults", p.Mode, faults)
	}
	if r.Unterminated > newlines {
		t.Errorf("%s: %d values without their newline, at most %d may be", p.Mode, r.Unterminated, newlines)
	}
	if r.Reads != p.Reads() {
		t.Errorf("%s: %d reads, not %d", p.Mode, r.Reads, p.Reads())
	}
	// A guest under software emulation on a busy machine falls behind the rate. It makes all its reads
	// for that; only by much does the rate mean nothing any more.
	if rate := float64(r.Reads) / r.Took.Seconds(); rate < float64(p.Rate)/3 {
		t.Errorf("%s: %.0f reads a second of %d: the machine is too busy for this test", p.Mode, rate, p.Rate)
	}
	if least := int(p.For.Seconds() * 0.8); len(r.Values) < least {
		t.Errorf("%s: %d distinct values, fewer than %d, of a counter that is published once a second", p.Mode, len(r.Values), least)
	}
	for _, v := range r.Values {
		if _, ok := places[v.Value]; !ok {
			t.Errorf("%s: the guest read %d, which was never in the host's series", p.Mode, v.Value)
		}
	}
}

// testCacheAuto reads through virtiofsd as libvirt starts it where nothing is said of a cache: the
// guest's kernel believes a file's size for a second. A value that has just gained a digit is
// then cut by one byte, which is its newline.
func testCacheAuto(t *testing.T, g *ground) {
	vm := newGuest(t, "auto", "virtiofs", "", g.meter.tree)
	vm.define(t)
	awaitPath(t, vm.source, true)
	vm.start(t)
	vm.awaitBoot(t)
	testReads(t, g, vm, 10*time.Second, 2)
	readAll(t, g, vm)
}

// testCat compares what cat prints in the guest with the host's series at that moment: the same
// publish, or the one before or after.
func testCat(t *testing.T, g *ground, vm guest) {
	type reading struct {
		value        uint64
		begun, ended time.Time
	}
	var all []reading
	ticker := time.NewTicker(1300 * time.Millisecond) // drifts through the second
	defer ticker.Stop()
	for range 25 {
		r := reading{begun: time.Now()}
		text := vm.cat(t, guestEnergy)
		r.ended = time.Now()
		value, err := strconv.ParseUint(strings.TrimSuffix(text, "\n"), 10, 64)
		if err != nil {
			t.Fatalf("cat printed %q: %v", text, err)
		}
		r.value = value
		all = append(all, r)
		<-ticker.C
	}
	counter := g.watch.of(vm.uuid)
	places := counter.index()
	same := 0
	for _, r := range all {
		place, ok := places[r.value]
		first, last := counter.place(r.begun), counter.place(r.ended)
		switch {
		case !ok:
			t.Errorf("cat read %d, which was never in the host's series", r.value)
		case place < first-1 || place > last+1:
			t.Errorf("cat read publish %d at a time when the host showed %d to %d", place, first, last)
		case place >= first && place <= last:
			same++
		}
	}
	t.Logf("%d readings, %d of them at the same publish as the host's last scrape, the others beside it", len(all), same)
}

// testConservation compares the zones' counters with what the plant really counted since the
// first tick, wraps included, to the microjoule.
func testConservation(t *testing.T, g *ground) {
	g.rapl.freeze(t)
	defer g.rapl.resume(t)
	truth, err := g.rapl.truth(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	matches := func() bool {
		s := g.watch.now()
		for id, zone := range truth {
			if s.Sum("scaph_zone_energy_joules_total", "path", id) != zone.Energy {
				return false
			}
		}
		return true
	}
	// Three ticks are enough for the last of the energy to be seen.
	exact := wait.For(t.Context(), 3500*time.Millisecond, matches)
	s := g.watch.now()
	for id, zone := range truth {
		shown := s.Sum("scaph_zone_energy_joules_total", "path", id)
		t.Logf("%s %s: counted %d µJ, shown %d µJ, %d wraps", id, zone.Name, zone.Energy, shown, zone.Wraps)
		if zone.Wraps < 1 {
			t.Errorf("%s has not wrapped", id)
		}
	}
	if !exact {
		t.Error("the zones' counters differ from the truth")
	}
	if len(truth) == 0 {
		t.Error("no zones")
	}
}
