//go:build lab

package lab

import (
	"testing"
	"time"
)

// testAgent scrapes scaph-guest inside the guest: its processes add up to its counter exactly, and
// its counter moves through the same values as the host's series, less where it began.
func testAgent(t *testing.T, g *ground, vm guest) {
	var zone []uint64
	var last *scrape
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for range 40 {
		s, err := fetch(t.Context(), vm.metricsURL())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.identity(); err != nil {
			t.Error(err)
		}
		if last != nil {
			for _, fall := range falls(last, s) {
				t.Error(fall)
			}
		}
		last = s
		zone = append(zone, s.Sum("scaph_zone_energy_joules_total", "zone", "package"))
		<-ticker.C
	}
	if zone[len(zone)-1] == zone[0] {
		t.Error("the guest's counter stands still")
	}
	t.Logf("%d scrapes, package zone %d to %d µJ; at the last, %d µJ on processes, %d µJ on nobody", len(zone), zone[0], zone[len(zone)-1],
		last.Sum("scaph_process_energy_joules_total"), last.Basis("scaph_unattributed_energy_joules_total"))
	if burner := last.Find("scaph_process_energy_joules_total", "comm", "probe"); len(burner) != 1 {
		t.Errorf("the process that makes the guest's load is not listed: %v", burner)
	}

	counter := g.watch.of(vm.uuid)
	places := counter.index()
	for _, base := range counter {
		if follows(places, base.Value, zone) {
			t.Logf("the guest began at %d µJ of the host's series", base.Value)
			return
		}
	}
	t.Error("the guest's counter does not follow the host's series")
}

// follows tells whether all the guest's values, counted from base, are values of the host.
func follows(places map[uint64]int, base uint64, zone []uint64) bool {
	for _, v := range zone {
		if _, ok := places[(base+v)%vmRange]; !ok {
			return false
		}
	}
	return true
}
