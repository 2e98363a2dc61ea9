//go:build lab

package lab

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/test/wait"
)

// listing is the time within which a change in libvirt is known: its events are listened to. On a machine
// at rest that takes a second; without events it would take up to a minute.
const listing = 5 * time.Second

// TestGuests is a day at an operator's, in two minutes: two guests with different loads under a
// host that is scraped five times a second from its first tick to its last. What happens at
// the same time there happens at the same time here.
func TestGuests(t *testing.T) {
	g := layGround(t)
	t.Run("Busy", func(t *testing.T) {
		for _, vm := range g.guests {
			t.Run("Reads/"+vm.share, func(t *testing.T) { t.Parallel(); testReads(t, g, vm, time.Minute, 0) })
			t.Run("Cat/"+vm.share, func(t *testing.T) { t.Parallel(); testCat(t, g, vm) })
			t.Run("Agent/"+vm.share, func(t *testing.T) { t.Parallel(); testAgent(t, g, vm) })
		}
		t.Run("ComeAndGo", func(t *testing.T) { t.Parallel(); testComeAndGo(t, g) })
		t.Run("NodeExporter", func(t *testing.T) { t.Parallel(); testNodeExporter(t, g) })
		t.Run("Procfs", func(t *testing.T) { t.Parallel(); testProcfs(t, g) })
		t.Run("Prometheus", func(t *testing.T) { t.Parallel(); testPrometheus(t, g) })
		t.Run("Promtool", func(t *testing.T) { t.Parallel(); testPromtool(t, g) })
		for i, vm := range g.guests {
			t.Run("OwnShareOnly/"+vm.share, func(t *testing.T) { t.Parallel(); testOwnShareOnly(t, vm, g.guests[1-i]) })
			t.Run("ReadOnly/"+vm.share, func(t *testing.T) { t.Parallel(); testReadOnly(t, vm) })
		}
		t.Run("Names", func(t *testing.T) { t.Parallel(); testNames(t, g) })
		t.Run("NameAgain", func(t *testing.T) { t.Parallel(); testNameAgain(t, g) })
		t.Run("Check", func(t *testing.T) { t.Parallel(); testCheck(t, g) })
		t.Run("Vms", func(t *testing.T) { t.Parallel(); testVms(t, g) })
	})
	t.Run("Ratio", func(t *testing.T) { testRatio(t, g) })
	t.Run("Helpers", func(t *testing.T) { testHelpers(t, g) })
	t.Run("CacheAuto", func(t *testing.T) { testCacheAuto(t, g) })
	t.Run("ReaderMatrix", func(t *testing.T) { testReaderMatrix(t, g) })
	t.Run("Flood", func(t *testing.T) { testFlood(t, g) })
	t.Run("DropCaches", func(t *testing.T) { testDropCaches(t, g) })
	t.Run("StopAndContinue", func(t *testing.T) { testStopAndContinue(t, g) })
	t.Run("LibvirtdAway", func(t *testing.T) { testLibvirtdAway(t, g) })
	t.Run("Kills", func(t *testing.T) { testKills(t, g) })
	t.Run("KillsInFlight", func(t *testing.T) { testKillsInFlight(t, g) })
	t.Run("Upgrade", func(t *testing.T) { testUpgrade(t, g) })
	t.Run("WithoutStore", func(t *testing.T) { testWithoutStore(t, g) })
	t.Run("Conservation", func(t *testing.T) { testConservation(t, g) })
	t.Run("EveryScrape", func(t *testing.T) { g.watch.stop(); g.watch.judge(t) })
	t.Run("Stop", func(t *testing.T) {
		if g.meter.ended() {
			t.Error("scaph-host ended by itself")
		}
		if code := g.meter.stop(t); code != 0 {
			t.Errorf("scaph-host exits with %d at SIGTERM", code)
		}
		log, err := os.ReadFile(g.meter.log)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(log), "level=ERROR") || strings.Contains(string(log), "panic:") {
			t.Errorf("errors in the log of scaph-host:\n%s", log)
		}
	})
}

// awaitPath waits for a path to be there, or not to be there any more.
func awaitPath(t *testing.T, path string, there bool) {
	t.Helper()
	what := path + " appears"
	if !there {
		what = path + " vanishes"
	}
	wait.Until(t, what, listing, func() bool {
		_, err := os.Stat(path)
		return (err == nil) == there
	})
}
