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

// readers are the ways in which programs read a counter, as commands of the guest's shell: in one piece, byte by byte, by
// sendfile(2), through a descriptor that is inherited, and line by line.
var readers = map[string]string{
	"cat":         "cat " + guestEnergy,
	"dd bs=4096":  "dd bs=4096 if=" + guestEnergy + " 2>/dev/null",
	"dd bs=1":     "dd bs=1 if=" + guestEnergy + " 2>/dev/null",
	"inherited":   "exec 3<" + guestEnergy + "; cat <&3",
	"read":        "read value <" + guestEnergy + "; echo $value",
	"head":        "head -n 1 " + guestEnergy,
	"redirection": "cat <" + guestEnergy,
}

// testReaderMatrix has every reader read on every transport and cache mode that can be fresh: what they print is a value
// that the host showed.
func testReaderMatrix(t *testing.T, g *ground) {
	for _, vm := range g.guests {
		t.Run(vm.share+" none", func(t *testing.T) { readAll(t, g, vm) })
	}
	t.Run("9p mmap", func(t *testing.T) {
		vm := newGuest(t, "mmap", "9p", "", g.meter.tree)
		vm.define(t)
		awaitPath(t, vm.source, true)
		vm.start(t)
		vm.awaitBoot(t)
		// A 9p device serves one mount at a time, and the agent keeps the first one's files open.
		remount := "killall scaph-guest; umount /var/scaphandre && " +
			"mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=mmap scaphandre /var/scaphandre"
		wait.Until(t, "the share mounted with cache=mmap", 20*time.Second, func() bool {
			return vm.exec(t, "sh", "-c", remount).Code == 0
		})
		readAll(t, g, vm)
	})
}

// readAll has every reader read in one guest, and the probe, which is a Go program, through a held descriptor too.
func readAll(t *testing.T, g *ground, vm guest) {
	for name, command := range readers {
		t.Run(name, func(t *testing.T) {
			var text string
			// A reader of single bytes may be overtaken by a publish; not every time.
			for range 5 {
				e := vm.exec(t, "sh", "-c", command)
				if text = string(e.Stdout); e.Code == 0 && g.showed(t, vm, text) {
					return
				}
			}
			t.Errorf("%q was never in the host's series", text)
		})
	}
	for _, mode := range []reads.Mode{reads.Open, reads.Held} {
		t.Run("Go "+string(mode), func(t *testing.T) {
			p := reads.Plan{Path: guestEnergy, Mode: mode, Rate: 50, For: 4 * time.Second, Range: vmRange}
			r := vm.carryOut(t, p)
			newlines := 0
			if vm.share == "virtiofs" && vm.cache == "" { // see testCacheAuto
				newlines = 2 * p.Rate
			}
			if r.Faults() > r.Unterminated || r.Unterminated > newlines || r.Reads != p.Reads() {
				t.Errorf("%s", r)
			}
		})
	}
}

// showed tells whether the host's series has the value, at the latest after two more scrapes.
func (g *ground) showed(t *testing.T, vm guest, text string) bool {
	t.Helper()
	value, err := strconv.ParseUint(strings.TrimSuffix(text, "\n"), 10, 64)
	if err != nil {
		return false
	}
	return wait.For(t.Context(), 3*time.Second, func() bool {
		_, ok := g.watch.of(vm.uuid).index()[value]
		return ok
	})
}
