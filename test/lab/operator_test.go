//go:build lab

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scaph/scaph/test/metrics"
	"github.com/scaph/scaph/test/wait"
)

// testComeAndGo defines, starts, destroys and undefines a machine while the meter runs. It has
// neither disk nor kernel: its firmware looks for something to boot, which is load enough.
func testComeAndGo(t *testing.T, g *ground) {
	vm := newGuest(t, "passing", "none", "", g.meter.tree).domain
	vm.boots = false
	info := func() []metrics.Sample { return g.watch.now().Find("scaph_vm_info", "uuid", vm.uuid) }
	energy := func() uint64 { return g.watch.now().Basis("scaph_vm_energy_joules_total", "uuid", vm.uuid) }

	vm.define(t)
	awaitPath(t, filepath.Join(vm.source, "intel-rapl:0", "energy_uj"), true)
	wait.Until(t, "a defined machine in the metrics", listing, func() bool { return len(info()) == 1 })
	vm.start(t)
	wait.Until(t, "energy of a machine that has started", listing, func() bool { return energy() > 0 })

	mustVirsh(t, "destroy", vm.name)
	wait.Until(t, "a machine that was destroyed draws no power", listing, func() bool {
		power := g.watch.now().Find("scaph_vm_power_watts", "uuid", vm.uuid)
		return len(power) == 1 && power[0].Value == 0
	})
	awaitPath(t, vm.source, true) // it is still defined, and could not start without

	mustVirsh(t, "undefine", vm.name)
	awaitPath(t, vm.source, false)
	if code, stdout, stderr := command(t, host(), "vms", "--config", g.meter.config); code != 0 || strings.Contains(stdout, vm.name) {
		t.Errorf("vms after the machine is gone (exit %d):\n%s%s", code, stdout, stderr)
	}
	// Its energy stays in the sum of the machine's; the watcher sees to that at every scrape.
	if energy() == 0 {
		t.Error("the energy of a machine that stopped a moment ago is gone")
	}
}

// testVms reads the table of machines as an operator does.
func testVms(t *testing.T, g *ground) {
	code, stdout, stderr := command(t, host(), "vms", "--config", g.meter.config)
	if code != 0 {
		t.Fatalf("vms exits with %d\n%s%s", code, stdout, stderr)
	}
	t.Logf("scaph-host vms\n%s", stdout)
	for _, vm := range g.guests {
		found := false
		for line := range strings.Lines(stdout) {
			found = found || strings.Contains(line, vm.name) && strings.Contains(line, vm.uuid) && strings.Contains(line, "running")
		}
		if !found {
			t.Errorf("no line has %s, %s and running", vm.name, vm.uuid)
		}
	}
}

// testCheck runs the pre-flight where everything is there, beside the service and in the guests.
func testCheck(t *testing.T, g *ground) {
	config, err := os.ReadFile(g.meter.config)
	if err != nil {
		t.Fatal(err)
	}
	// The service's own port is taken, by the service.
	free := filepath.Join(t.TempDir(), "check.yaml")
	text := strings.Replace(string(config), g.meter.address, fmt.Sprintf("127.0.0.1:%d", freePort(t)), 1)
	if err := os.WriteFile(free, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, host(), "check", "--config", free)
	t.Logf("scaph-host check\n%s%s", stdout, stderr)
	if code != 0 {
		t.Errorf("scaph-host check exits with %d where the service works", code)
	}
	for _, vm := range g.guests {
		e := vm.exec(t, "scaph-guest", "check")
		t.Logf("%s: scaph-guest check\n%s%s", vm.share, e.Stdout, e.Stderr)
		if e.Code != 0 {
			t.Errorf("%s: scaph-guest check exits with %d", vm.share, e.Code)
		}
	}
}
