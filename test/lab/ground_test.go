//go:build lab

package lab

import (
	"testing"
	"time"

	"github.com/scaph/scaph/test/wait"
)

// A ground is what the tests of TestGuests stand on: everything is up, the guests have booted, and a
// watcher has held every scrape of the host to the invariants since the first.
type ground struct {
	libvirtd *libvirtd
	rapl     *rapl
	meter    *meter
	watch    *watcher
	guests   []guest // with different loads and transports
}

// layGround starts all parts in the order in which an operator's host does: libvirtd, the meter,
// the guests. The simulated RAPL stands still until the meter has made its first tick.
func layGround(t *testing.T) *ground {
	t.Helper()
	g := &ground{libvirtd: useLibvirtd(t)}
	g.rapl = startRAPL(t)
	g.meter = newMeter(t, g.rapl)
	g.meter.start(t)
	g.watch = watch(t, g.meter.metricsURL(), 200*time.Millisecond)
	wait.Until(t, "the first scrape", 10*time.Second, func() bool { return g.watch.now() != nil })
	for _, zone := range g.watch.now().Find("scaph_zone_energy_joules_total") {
		if zone.Value != 0 {
			t.Errorf("%s is %v at the state's first tick", zone.Key, zone.Value)
		}
	}
	g.rapl.resume(t)

	g.guests = []guest{
		newGuest(t, "virtiofs", "virtiofs", "none", g.meter.tree),
		newGuest(t, "9p", "9p", "", g.meter.tree),
	}
	for _, vm := range g.guests {
		vm.define(t)
	}
	for _, vm := range g.guests {
		// The directory of a VM must be there before it starts: libvirt refuses to share what is not.
		awaitPath(t, vm.source, true)
		vm.start(t)
	}
	for i, vm := range g.guests {
		vm.awaitBoot(t)
		if by := vm.cat(t, "/run/mounted-by"); by != "scaph-guest\n" {
			t.Errorf("%s: the share was mounted by %q, not by scaph-guest:\n%s", vm.name, by, vm.cat(t, "/run/mount.log"))
		}
		// Light loads: under emulation a read takes some 3 ms of the guest's one CPU.
		vm.load(t, []int{20, 5}[i])
	}
	return g
}
