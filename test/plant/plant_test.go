package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs/sysfs"

	"github.com/scaph/scaph/test/rights"
)

// TestSharesNoCode holds what makes the plant a judge's instrument: a mistake of the product
// cannot be repeated in it.
func TestSharesNoCode(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range strings.Fields(string(out)) {
		if strings.Contains(dep, "scaph/internal/") || strings.Contains(dep, "scaph/cmd/") {
			t.Errorf("the plant imports %s", dep)
		}
	}
}

// steppedPlant is a plant whose clocks stand until the test moves them.
func steppedPlant(packages int, lead float64) (p *plant, pass func(wall, busy time.Duration)) {
	p = newPlant(packages, lead, 1, false)
	var at, used time.Duration
	p.now = func() time.Duration { return at }
	p.busy = func() time.Duration { return used }
	for _, c := range p.counters {
		c.at, c.busy = 0, 0
	}
	return p, func(wall, busy time.Duration) { at += wall; used += busy }
}

func TestEachZoneWrapsOnceAndTruthGoesOn(t *testing.T) {
	p, pass := steppedPlant(2, 20)
	last := map[string]uint64{}
	falls := map[string]int{}
	for range 100 {
		pass(time.Second, time.Second)
		for _, c := range p.counters {
			v := p.read(c)
			if v < last[c.id] {
				falls[c.id]++
			}
			last[c.id] = v
		}
	}
	for id, truth := range p.truth() {
		if falls[id] != 1 || truth.Wraps != 1 {
			t.Errorf("%s: %d falls, truth %+v", id, falls[id], truth)
		}
		if truth.Energy != truth.LastRead {
			t.Errorf("%s: the clocks stand, yet %+v", id, truth)
		}
	}
	if got := p.truth()["intel-rapl:0"].Energy; got < 700e6 || got > 800e6 {
		t.Errorf("package-0 counted %d µJ in 100 s at half of (3 W + 12 W)", got)
	}
}

func TestFrozenCountersStand(t *testing.T) {
	p, pass := steppedPlant(1, 20)
	pass(time.Second, time.Second)
	p.freeze(true)
	before := p.truth()
	pass(time.Hour, time.Hour)
	if after := p.truth()["intel-rapl:0"]; after != before["intel-rapl:0"] || after.Energy == 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	p.freeze(false)
	if after := p.truth()["intel-rapl:0"]; after != before["intel-rapl:0"] {
		t.Errorf("the frozen hour was counted after all: %+v", after)
	}
	pass(time.Second, 0)
	if after := p.truth()["intel-rapl:0"]; after.Energy <= before["intel-rapl:0"].Energy {
		t.Error("does not go on")
	}
}

// TestPowercapShape has the tree read by prometheus/procfs, which knows the kernel's layout.
func TestPowercapShape(t *testing.T) {
	rights.Require(t, rights.FUSE)
	root := t.TempDir()
	mountPoint := filepath.Join(root, "class", "powercap")
	if err := os.MkdirAll(mountPoint, 0o755); err != nil {
		t.Fatal(err)
	}
	p := newPlant(2, 20, 1, false)
	server, err := mountTree(mountPoint, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	fs, err := sysfs.NewFS(root)
	if err != nil {
		t.Fatal(err)
	}
	zones, err := sysfs.GetRaplZones(fs)
	if err != nil {
		t.Fatal(err)
	}
	if len(zones) != 6 {
		t.Fatalf("zones %+v", zones)
	}
	for _, z := range zones {
		if _, err := z.GetEnergyMicrojoules(); err != nil {
			t.Errorf("%s: %v", z.Name, err)
		}
	}
	heldDescriptorIsFresh(t, filepath.Join(mountPoint, "intel-rapl:0", "energy_uj"))
}

// heldDescriptorIsFresh reads one open file until its value moves.
func heldDescriptorIsFresh(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var buf [32]byte
	for first := ""; ctx.Err() == nil; {
		n, _ := f.ReadAt(buf[:], 0)
		if text := string(buf[:n]); first == "" {
			first = text
		} else if text != first {
			return
		}
	}
	t.Errorf("%s did not move in 10 s", path)
}
