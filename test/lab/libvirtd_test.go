//go:build lab

package lab

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/scaph/scaph/test/rights"
	"github.com/scaph/scaph/test/wait"
)

// testLibvirtdAway takes libvirtd away for some ticks: machines are metered as they were known, and what changes
// afterwards is known again.
func testLibvirtdAway(t *testing.T, g *ground) {
	if g.libvirtd.daemon == nil {
		rights.Spare(t, "the libvirtd that runs here (stop it first, and the lab starts its own)")
	}
	energy := func(vm guest) uint64 { return g.watch.now().Basis("scaph_vm_energy_joules_total", "uuid", vm.uuid) }
	if code := g.libvirtd.stop(t); code != 0 {
		t.Errorf("libvirtd exits with %d", code)
	}
	metered := func(when string) {
		t.Helper()
		before := []uint64{energy(g.guests[0]), energy(g.guests[1])}
		wait.Until(t, "guests are metered "+when, 5*time.Second, func() bool {
			return energy(g.guests[0]) > before[0] && energy(g.guests[1]) > before[1]
		})
	}
	for range 3 { // ticks
		metered("without libvirtd")
	}
	for _, vm := range g.guests {
		if info := g.watch.now().Find("scaph_vm_info", "uuid", vm.uuid, "vm", vm.name); len(info) != 1 {
			t.Errorf("%s is no longer known by its name: %v", vm.share, info)
		}
	}
	g.libvirtd.start(t)
	late := newGuest(t, "late", "none", "", g.meter.tree).domain
	late.boots = false
	late.define(t)
	// Reconnecting backs off; how far it had got, nobody can tell from outside.
	begin := time.Now()
	wait.Until(t, "a machine that was defined since then", time.Minute, func() bool {
		return len(g.watch.now().Find("scaph_vm_info", "uuid", late.uuid)) == 1
	})
	t.Logf("known %s after it was defined", time.Since(begin).Round(time.Millisecond))
	awaitPath(t, filepath.Join(late.source, "intel-rapl:0", "energy_uj"), true)
	removeDomain(t, late.uuid)
	awaitPath(t, late.source, false)
	metered("as before")
}
