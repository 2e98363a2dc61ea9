//go:build lab

package lab

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/scaph/scaph/test/lab/reads"
)

// kills is how often scaph-host is killed under its readers.
var kills = flag.Int("kills", 10, "how often scaph-host is killed and started again")

// testKills kills scaph-host at random moments under readers in both guests and on the host, and at
// last stops it as an upgrade does. Nobody but the scraper may notice.
func testKills(t *testing.T, g *ground) {
	for _, vm := range g.guests {
		vm.load(t, 5)
	}
	g.watch.allowOutage(true)
	defer g.watch.allowOutage(false)
	begin, howLong := time.Now(), time.Duration(*kills)*1200*time.Millisecond+5*time.Second
	plan := func(path string, mode reads.Mode) reads.Plan {
		return reads.Plan{Path: path, Mode: mode, Rate: 100, For: howLong, Range: vmRange}
	}
	var readers sync.WaitGroup
	report := func(who string, r reads.Report) {
		t.Logf("%s: %s", who, r)
		if r.Faults() > 0 {
			t.Errorf("%s noticed", who)
		}
	}
	for i, vm := range g.guests {
		mode := []reads.Mode{reads.Open, reads.Held}[i]
		readers.Go(func() { report("guest, "+vm.share+", "+string(mode), vm.carryOut(t, plan(guestEnergy, mode))) })
		for _, mode := range []reads.Mode{reads.Open, reads.Held} {
			readers.Go(func() {
				r, err := reads.Run(t.Context(), plan(filepath.Join(vm.source, "intel-rapl:0", "energy_uj"), mode))
				if err != nil {
					t.Error(err)
				}
				report("host, "+vm.share+", "+string(mode), r)
			})
		}
	}
	for range *kills {
		pause(t, rand.N(time.Second))
		g.meter.kill(t)
		g.meter.start(t)
	}
	if code := g.meter.stop(t); code != 0 {
		t.Errorf("scaph-host exits with %d at SIGTERM", code)
	}
	g.meter.start(t)
	if took := time.Since(begin); took > howLong {
		t.Errorf("the restarts took %s, the readers read for %s only: the machine is too busy for this test", took, howLong)
	}
	readers.Wait()
}

// kill ends scaph-host as the kernel's out-of-memory killer does.
func (m *meter) kill(t *testing.T) {
	t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	<-m.done
}

// pause lets time pass, during which others do something.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-t.Context().Done():
	case <-timer.C:
	}
}
