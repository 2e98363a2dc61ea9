//go:build lab

package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs/sysfs"

	"github.com/scaph/scaph/test/wait"
)

// powercapOf gives a sysfs whose powercap is a VM's directory, for readers that want to be told
// where sysfs is.
func powercapOf(t *testing.T, vm guest) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "class"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(vm.source, filepath.Join(root, "class", "powercap")); err != nil {
		t.Fatal(err)
	}
	return root
}

// hostReads gives the VM's counter as the host's root reads it.
func hostReads(t *testing.T, vm guest, zone string) uint64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vm.source, zone, "energy_uj"))
	if err != nil {
		t.Fatal(err)
	}
	value, err := strconv.ParseUint(strings.TrimSuffix(string(text), "\n"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// testNodeExporter has Debian's node_exporter, unmodified, read a VM's directory.
func testNodeExporter(t *testing.T, g *ground) {
	vm := g.guests[0]
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	start(t, "node-exporter", "prometheus-node-exporter", "--collector.disable-defaults", "--collector.rapl",
		"--path.sysfs="+powercapOf(t, vm), "--web.listen-address="+address)
	var s *scrape
	var before uint64
	wait.Until(t, "node_exporter answers", 20*time.Second, func() bool {
		before = hostReads(t, vm, "intel-rapl:0")
		var err error
		s, err = fetch(t.Context(), "http://"+address+"/metrics")
		return err == nil
	})
	after := hostReads(t, vm, "intel-rapl:0")
	for _, one := range s.Find("node_scrape_collector_success", "collector", "rapl") {
		if one.Value != 1 {
			t.Error("node_exporter's rapl collector failed")
		}
	}
	packages := s.Find("node_rapl_package_joules_total", "index", "0")
	if len(packages) != 1 {
		t.Fatalf("node_rapl_package_joules_total: %v", packages)
	}
	if v := packages[0].Microjoules(); v < before || v > after {
		t.Errorf("node_exporter shows %d µJ, the file went from %d to %d", v, before, after)
	}
	for _, name := range []string{"node_rapl_core_joules_total", "node_rapl_dram_joules_total"} {
		if len(s.Find(name)) != 1 {
			t.Errorf("%s: %v", name, s.Find(name))
		}
	}
}

// testProcfs has prometheus/procfs, the library behind node_exporter and kepler, read both VMs.
func testProcfs(t *testing.T, g *ground) {
	for _, vm := range g.guests {
		fs, err := sysfs.NewFS(powercapOf(t, vm))
		if err != nil {
			t.Fatal(err)
		}
		zones, err := sysfs.GetRaplZones(fs)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, z := range zones {
			names[z.Name] = true
			if _, err := z.GetEnergyMicrojoules(); err != nil {
				t.Errorf("%s: %v", z.Name, err)
			}
			if z.MaxMicrojoules != vmRange {
				t.Errorf("%s: range %d", z.Name, z.MaxMicrojoules)
			}
		}
		if len(zones) != 3 || !names["package"] || !names["core"] || !names["dram"] {
			t.Errorf("%s: zones %+v", vm.name, zones)
		}
	}
}
