//go:build lab

package lab

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/test/lab/reads"
)

// testReads reads the guest's counter for a minute, by opening it each time and through a held
// descriptor: never a failure, and no value that the host did not publish.
func testReads(t *testing.T, g *ground, vm guest) {
	held := make(chan reads.Report, 1)
	go func() {
		defer close(held)
		plan := reads.Plan{Path: guestEnergy, Mode: reads.Held, Rate: 20, For: time.Minute, Range: vmRange}
		if report, err := vm.carryOut(t.Context(), plan); err != nil {
			t.Error(err)
		} else {
			held <- report
		}
	}()
	opened, err := vm.carryOut(t.Context(), reads.Plan{Path: guestEnergy, Mode: reads.Open, Rate: 100, For: time.Minute, Range: vmRange})
	if err != nil {
		t.Error(err)
	}
	// What was published last may not have been scraped yet.
	scraped := time.Now()
	await(t, "two more publishes", 10*time.Second, func() bool {
		c := g.watch.of(vm.uuid)
		return len(c) >= 2 && c[len(c)-2].At.After(scraped)
	})
	judgeReads(t, g, vm, "open", opened, 50)
	judgeReads(t, g, vm, "held", <-held, 10)
}

// judgeReads holds a report against the host's series. leastRate is what the reader must have
// reached for the test to mean anything: a guest under software emulation on a loaded machine does
// not reach what was asked for.
func judgeReads(t *testing.T, g *ground, vm guest, mode string, r reads.Report, leastRate int) {
	t.Helper()
	t.Logf("%s: %s", mode, r)
	if r.Faults() > 0 {
		t.Errorf("%s: %d faults", mode, r.Faults())
	}
	if r.Reads < 60*leastRate {
		t.Errorf("%s: only %d reads in 60 s", mode, r.Reads)
	}
	if len(r.Values) < 45 {
		t.Errorf("%s: only %d distinct values in 60 s of publishing once a second", mode, len(r.Values))
	}
	places := g.watch.of(vm.uuid).index()
	for _, v := range r.Values {
		if _, ok := places[v.Value]; !ok {
			t.Errorf("%s: the guest read %d, which was never in the host's series", mode, v.Value)
		}
	}
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

// testRatio compares the energies of the two guests with their CPU time by the kernel's clock, over a
// time when nobody reads the tree fast: the helpers' time would belong to the VM too.
func testRatio(t *testing.T, g *ground) {
	const window = 40 * time.Second
	begin := mark(t, g)
	timer := time.NewTimer(window)
	defer timer.Stop()
	<-timer.C
	end := mark(t, g)

	var joules, seconds [2]float64
	for i := range g.guests {
		joules[i] = float64(end[i].energy-begin[i].energy) / 1e6
		seconds[i] = (end[i].clock - begin[i].clock).Seconds()
		t.Logf("%s: %.3f J, %.3f s of CPU, %.4f J/s", g.guests[i].share, joules[i], seconds[i], joules[i]/seconds[i])
	}
	energies, times := joules[0]/joules[1], seconds[0]/seconds[1]
	difference := energies/times - 1
	t.Logf("ratio of energies %.4f, of CPU times %.4f: %+.2f %%", energies, times, 100*difference)
	if difference > 0.02 || difference < -0.02 {
		t.Error("more than 2 % apart")
	}
	if times < 1.5 {
		t.Errorf("the loads are too much alike for a judgement: ratio %.2f", times)
	}
}

// A moment is a VM's energy, and the CPU clock of its qemu when that energy was published.
type moment struct {
	energy uint64
	clock  time.Duration
}

// mark waits for a fresh tick and reads the clocks at once.
func mark(t *testing.T, g *ground) [2]moment {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var first, fresh *scrape
	await(t, "a fresh tick", 10*time.Second, func() bool {
		s, err := fetch(ctx, g.meter.metricsURL())
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = s
		}
		fresh = s
		return s.basis("scaph_zone_energy_joules_total") != first.basis("scaph_zone_energy_joules_total")
	})
	var m [2]moment
	for i, vm := range g.guests {
		m[i].clock = cpuClock(t, vm.pid(t))
		m[i].energy = fresh.basis("scaph_vm_energy_joules_total", "uuid", vm.uuid)
	}
	return m
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
			if s.sum("scaph_zone_energy_joules_total", "path", id) != zone.Energy {
				return false
			}
		}
		return true
	}
	// Three ticks are enough for the last of the energy to be seen.
	exact := poll(t.Context(), 3500*time.Millisecond, matches)
	s := g.watch.now()
	for id, zone := range truth {
		shown := s.sum("scaph_zone_energy_joules_total", "path", id)
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
