//go:build lab

package lab

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scaph/scaph/test/lab/flood"
	"github.com/scaph/scaph/test/wait"
)

// kills is how often scaph-host is killed under its readers.
var kills = flag.Int("kills", 10, "how often scaph-host is killed and started again")

// testKills kills scaph-host at random moments and starts it again; every third time it is killed once more while
// it starts. Nobody but the scraper may notice.
func testKills(t *testing.T, g *ground) {
	howLong := time.Duration(*kills)*1200*time.Millisecond + 3*time.Second
	unnoticed(t, observe(t, g, howLong, func() {
		for i := range *kills {
			pause(t, rand.N(time.Second))
			g.meter.kill(t)
			if i%3 == 2 {
				g.meter.begin(t)
				pause(t, rand.N(100*time.Millisecond))
				g.meter.kill(t)
			}
			g.meter.start(t)
		}
	}))
}

// testKillsInFlight kills scaph-host while a flood keeps it at work, so that it dies with requests that it has
// taken and not answered: its successor must see to those too, or their callers wait for good.
func testKillsInFlight(t *testing.T, g *ground) {
	g.watch.allowOutage(true)
	defer g.watch.allowOutage(false)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var report flood.Report
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		report, err = flood.Run(ctx, filepath.Join(g.guests[0].source, "intel-rapl"), "intel-rapl:0/energy_uj", 1000)
	}()
	for range 8 {
		pause(t, 100*time.Millisecond+rand.N(20*time.Millisecond))
		g.meter.kill(t)
		g.meter.start(t)
	}
	cancel()
	select {
	case <-ended:
		t.Log(report)
	case <-time.After(20 * time.Second):
		t.Fatal("a request of the flood was never answered")
	}
	if err != nil || report.Failures > 0 {
		t.Errorf("the flood noticed: %s, %v", report, err)
	}
}

// testUpgrade stops scaph-host as a service manager does and goes on with another build of it; then it goes
// back, as an operator does who is not content.
func testUpgrade(t *testing.T, g *ground) {
	const version = "lab-other-build"
	other := filepath.Join(built.logs, "scaph-host-other")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", "libvirt_dlopen",
		"-ldflags", "-s -w -X github.com/scaph/scaph/internal/cli.version="+version, "-o", other, "./cmd/scaph-host")
	build.Dir = built.top
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the other build: %v\n%s", err, out)
	}
	shown := func(vm guest) string { return strings.TrimSpace(vm.cat(t, "/var/scaphandre/scaph/version")) }
	before := shown(g.guests[0])
	if before == version {
		t.Fatalf("both builds call themselves %s", version)
	}
	unnoticed(t, observe(t, g, 10*time.Second, func() {
		for _, next := range []struct{ binary, version string }{{other, version}, {host(), before}} {
			pause(t, time.Second)
			if code := g.meter.stop(t); code != 0 {
				t.Errorf("scaph-host exits with %d at SIGTERM", code)
			}
			g.meter.binary = next.binary
			g.meter.start(t)
			for _, vm := range g.guests {
				if got := shown(vm); got != next.version {
					t.Errorf("%s is served by version %q, not %q", vm.share, got, next.version)
				}
			}
		}
	}))
}

// testStopAndContinue holds scaph-host still for 5 s: readers wait, and then have their answer.
func testStopAndContinue(t *testing.T, g *ground) {
	all := observe(t, g, 8*time.Second, func() {
		pause(t, time.Second)
		g.meter.signal(t, syscall.SIGSTOP)
		pause(t, 5*time.Second)
		g.meter.signal(t, syscall.SIGCONT)
	})
	unnoticed(t, all)
	for _, one := range all {
		if one.LongestStall < 4*time.Second {
			t.Errorf("%s did not wait: scaph-host was not held still", one.who)
		}
	}
}

// testDropCaches has the host's kernel forget all inodes that nobody uses at the moment, those that
// virtiofsd and qemu know by handle among them.
func testDropCaches(t *testing.T, g *ground) {
	unnoticed(t, observe(t, g, 3*time.Second, func() {
		for range 3 {
			pause(t, 500*time.Millisecond)
			if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0); err != nil {
				t.Error(err)
			}
		}
	}))
	for _, vm := range g.guests {
		for _, path := range []string{guestEnergy, "/var/scaphandre/intel-rapl/intel-rapl:0/name", "/var/scaphandre/scaph/uuid"} {
			if vm.cat(t, path) == "" {
				t.Errorf("%s: %s is empty after the host's caches were dropped", vm.share, path)
			}
		}
	}
}

// testWithoutStore kills scaph-host once where no service manager keeps its descriptors. Now the guests must notice,
// or the tests above would show nothing; they are mended as the documentation says: by being stopped and
// started. The meter goes on without a store.
func testWithoutStore(t *testing.T, g *ground) {
	all := observe(t, g, 4*time.Second, func() {
		pause(t, time.Second)
		g.meter.kill(t)
		g.meter.store.Clear()
		g.meter.store = nil
		g.meter.start(t)
	})
	for _, one := range all {
		if one.Failures == 0 {
			t.Errorf("%s did not notice: %s", one.who, one.Report)
		}
	}
	log, err := os.ReadFile(g.meter.log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "the mount will not outlive this process") {
		t.Error("the log does not say what the missing store means")
	}
	for _, vm := range g.guests {
		// Requests in flight were aborted (ECONNABORTED); whatever comes later finds nobody.
		if e := vm.exec(t, "cat", guestEnergy); !strings.Contains(string(e.Stderr), "Transport endpoint is not connected") {
			t.Errorf("%s: cat exits with %d: %s%s", vm.share, e.Code, e.Stdout, e.Stderr)
		}
		mustVirsh(t, "destroy", vm.name)
		vm.start(t)
	}
	for _, vm := range g.guests {
		vm.awaitBoot(t)
		before := vm.cat(t, guestEnergy)
		wait.Until(t, vm.share+" is metered again", 10*time.Second, func() bool { return vm.cat(t, guestEnergy) != before })
	}
}

// kill ends scaph-host as the kernel's out-of-memory killer does.
func (m *meter) kill(t *testing.T) {
	t.Helper()
	m.signal(t, syscall.SIGKILL)
	<-m.done
}

func (m *meter) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		t.Error(err)
	}
}
