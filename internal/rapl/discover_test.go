package rapl

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/procfs/sysfs"

	"github.com/scaph/scaph/internal/energy"
)

func describe(zones []energy.Zone) []string {
	var lines []string
	for _, z := range zones {
		lines = append(lines, fmt.Sprintf("%s %s %s p%d d%d in %q", z.Path, z.Name, z.Kind, z.Package, z.Die, z.Parent))
	}
	return lines
}

func TestLayouts(t *testing.T) {
	eighteen := make([]string, 18)
	for i := range eighteen {
		eighteen[i] = fmt.Sprintf(`intel-rapl:%x package-%d package p%d d-1 in ""`, i, i, i)
	}
	for fixture, want := range map[string][]string{
		"intel-desktop": {
			`intel-rapl:1 psys psys p-1 d-1 in ""`,
			`intel-rapl:0 package-0 package p0 d-1 in ""`,
			`intel-rapl:0:0 core core p0 d-1 in "intel-rapl:0"`,
			`intel-rapl:0:1 uncore uncore p0 d-1 in "intel-rapl:0"`,
		},
		"intel-two-sockets": {
			`intel-rapl:1 psys psys p-1 d-1 in ""`,
			`intel-rapl:0 package-0 package p0 d-1 in ""`,
			`intel-rapl:0:0 dram dram p0 d-1 in "intel-rapl:0"`,
			`intel-rapl:2 package-1 package p1 d-1 in ""`,
			`intel-rapl:2:0 dram dram p1 d-1 in "intel-rapl:2"`,
		},
		"amd": {
			`intel-rapl:0 package-0 package p0 d-1 in ""`,
			`intel-rapl:0:0 core core p0 d-1 in "intel-rapl:0"`,
		},
		"multi-die": {
			`intel-rapl:0 package-0-die-0 package p0 d0 in ""`,
			`intel-rapl:0:0 dram dram p0 d0 in "intel-rapl:0"`,
			`intel-rapl:1 package-0-die-1 package p0 d1 in ""`,
			`intel-rapl:1:0 dram dram p0 d1 in "intel-rapl:1"`,
			`intel-rapl:2 package-1-die-0 package p1 d0 in ""`,
			`intel-rapl:2:0 dram dram p1 d0 in "intel-rapl:2"`,
			`intel-rapl:3 package-1-die-1 package p1 d1 in ""`,
			`intel-rapl:3:0 dram dram p1 d1 in "intel-rapl:3"`,
		},
		"eighteen-packages": eighteen,
		"guest": {
			`intel-rapl:0 package-0 package p0 d-1 in ""`,
			`intel-rapl:0:0 core core p0 d-1 in "intel-rapl:0"`,
			`intel-rapl:0:1 dram dram p0 d-1 in "intel-rapl:0"`,
		},
		"flat": {
			`intel-rapl:0 package-0 package p0 d-1 in ""`,
			`intel-rapl:1 package-1 package p1 d-1 in ""`,
		},
	} {
		t.Run(fixture, func(t *testing.T) {
			r := open(t, powercap(t, fixture))
			if got := describe(r.Zones()); !slices.Equal(got, want) {
				t.Errorf("zones:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if left := r.LeftOut(); len(left) != 0 {
				t.Errorf("left out: %v", left)
			}
			for i, z := range r.Zones() {
				if z.Source != energy.SourcePowercap || (z.Range == 0) != (fixture == "flat") {
					t.Errorf("%s: source %q, range %d", z.Path, z.Source, z.Range)
				}
				unit := Unit(z.Range)
				if fixture == "guest" { // counted by our host, with no register behind it
					unit = 0
				}
				if z.Unit != unit {
					t.Errorf("%s: unit %d nJ of range %d, want %d", z.Path, z.Unit, z.Range, unit)
				}
				if got := readings(r)[i]; got.Err != nil || got.Energy == 0 {
					t.Errorf("%s: %+v", z.Path, got)
				}
			}
		})
	}
}

// The nested directories alone are enough, and so are the links alone seen from elsewhere.
func TestNestedOnly(t *testing.T) {
	root := extract(t, "intel-two-sockets")
	flat := open(t, filepath.Join(root, "sys/class/powercap"))
	for _, dir := range []string{"sys/devices/virtual/powercap", "sys/devices/virtual/powercap/intel-rapl"} {
		nested := open(t, filepath.Join(root, dir))
		if !slices.Equal(nested.Zones(), flat.Zones()) {
			t.Errorf("%s: %v, want %v", dir, nested.Zones(), flat.Zones())
		}
	}
}

// Another reader of the same trees must see the same zones, ranges and values.
func TestAgreesWithProcfs(t *testing.T) {
	for _, fixture := range []string{"intel-desktop", "intel-two-sockets", "amd", "multi-die", "eighteen-packages", "guest"} {
		t.Run(fixture, func(t *testing.T) {
			root := extract(t, fixture)
			dir, sys := filepath.Join(root, "sys/class/powercap"), filepath.Join(root, "sys")
			if !exists(dir) { // a tree by itself: make it the powercap class of a sysfs
				dir, sys = root, t.TempDir()
				must(t, os.Mkdir(filepath.Join(sys, "class"), 0o755))
				must(t, os.Symlink(root, filepath.Join(sys, "class/powercap")))
			}
			theirs, err := sysfs.NewFS(sys)
			must(t, err)
			zones, err := sysfs.GetRaplZones(theirs)
			must(t, err)
			type zone struct {
				path         string
				rng, counter uint64
			}
			var want, got []zone
			for _, z := range zones {
				counter, err := z.GetEnergyMicrojoules()
				must(t, err)
				if id := filepath.Base(z.Path); !strings.HasPrefix(id, "intel-rapl-mmio") {
					want = append(want, zone{id, z.MaxMicrojoules, counter})
				}
			}
			r := open(t, dir)
			for i, reading := range readings(r) {
				must(t, reading.Err)
				z := r.Zones()[i]
				got = append(got, zone{z.Path, uint64(z.Range), uint64(reading.Energy)})
			}
			byPath := func(a, b zone) int { return strings.Compare(a.path, b.path) }
			slices.SortFunc(want, byPath)
			slices.SortFunc(got, byPath)
			if !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestWhatDoesNotCount(t *testing.T) {
	dir := powercap(t, "amd")
	for path, name := range map[string]string{
		"intel-rapl:1":                           "npu",         // not known
		"intel-rapl:2":                           "dram",        // of no package
		"intel-rapl:3":                           "pack\x1bage", // hostile
		"intel-rapl:4":                           "",
		"intel-rapl:5/intel-rapl:5:0":            "core",                   // in a zone without a name
		"intel-rapl:1/intel-rapl:1:0":            "core",                   // in one that is not known
		"intel-rapl:6":                           strings.Repeat("x", 500), // too long
		"intel-rapl/intel-rapl:0/intel-rapl:0:9": "package-0",              // a package in a package
		// These are not zones of ours at all.
		"intel-rapl:g":              "package-7",
		"intel-rapl:":               "package-7",
		"intel-rapl:123456789":      "package-7",
		"intel-rapl:7::1":           "package-7",
		"intel-rapl-mmio:0":         "package-0",
		"dtpm/dtpm:0":               "package-0",
		"intel-rapl:0/intel-rapl:8": "package-8",
	} {
		writeFile(t, filepath.Join(dir, path, "name"), name+"\n")
		writeFile(t, filepath.Join(dir, path, "energy_uj"), "1\n")
	}
	must(t, os.Symlink("..", filepath.Join(dir, "intel-rapl:0/intel-rapl:0:a"))) // turns round
	must(t, os.Symlink("intel-rapl:c", filepath.Join(dir, "intel-rapl:c")))      // goes nowhere
	writeFile(t, filepath.Join(dir, "intel-rapl:d"), "a file")

	var log bytes.Buffer
	r := open(t, dir, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if got := len(r.Zones()); got != 2 {
		t.Errorf("zones: %v", describe(r.Zones()))
	}
	var ids []string
	for _, l := range r.LeftOut() {
		ids = append(ids, l.Path)
		if len(l.Why) > 300 || strings.ContainsRune(l.Why, '\x1b') {
			t.Errorf("why is neither bounded nor escaped: %q", l.Why)
		}
	}
	want := []string{"intel-rapl:0:9", "intel-rapl:0:a", "intel-rapl:1", "intel-rapl:1:0", "intel-rapl:2", "intel-rapl:3", "intel-rapl:4",
		"intel-rapl:5", "intel-rapl:5:0", "intel-rapl:6", "intel-rapl:c", "intel-rapl:d"}
	if !slices.Equal(ids, want) {
		t.Errorf("left out %q\nwant     %q", ids, want)
	}
	_, err := r.Rescan()
	must(t, err)
	if got := strings.Count(log.String(), "RAPL zone does not count"); got != len(want) {
		t.Errorf("%d log lines for %d zones:\n%s", got, len(want), log.String())
	}
}

// The indices of a tree without names are hexadecimal too; what is inside its zones stays unknown.
func TestWithoutNames(t *testing.T) {
	dir := t.TempDir()
	for _, zone := range []string{"intel-rapl:9", "intel-rapl:1f", "intel-rapl:9/intel-rapl:9:0"} {
		writeFile(t, filepath.Join(dir, zone, "energy_uj"), "1")
	}
	r := open(t, dir)
	want := []string{`intel-rapl:9 package-9 package p9 d-1 in ""`, `intel-rapl:1f package-31 package p31 d-1 in ""`}
	if got := describe(r.Zones()); !slices.Equal(got, want) {
		t.Errorf("zones %q", got)
	}
	if left := r.LeftOut(); len(left) != 1 || left[0].Path != "intel-rapl:9:0" {
		t.Errorf("left out %v", left)
	}
}

// Of package-10, cut off, another package's name would remain. Where no line has an end, none is missing.
func TestCutOffNames(t *testing.T) {
	dir := t.TempDir()
	for id, name := range map[string]string{"intel-rapl:0": "package-0\n", "intel-rapl:a": "package-1"} {
		writeFile(t, filepath.Join(dir, id, "name"), name)
		writeFile(t, filepath.Join(dir, id, "energy_uj"), "1\n")
	}
	if left := open(t, dir).LeftOut(); len(left) != 1 || left[0].Path != "intel-rapl:a" {
		t.Errorf("left out %v", left)
	}
	writeFile(t, filepath.Join(dir, "intel-rapl:0/name"), "package-0")
	if zones := open(t, dir).Zones(); len(zones) != 2 {
		t.Errorf("zones %v", zones)
	}
}

func FuzzZoneID(f *testing.F) {
	for _, id := range []string{"intel-rapl:0", "intel-rapl:0:1", "intel-rapl:1f:a:b", "intel-rapl-mmio:0", "intel-rapl:", "intel-rapl:0:", "intel-rapl:-1", "../intel-rapl:0", "intel-rapl:0/.."} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if !isZone(id) {
			return
		}
		if strings.ContainsAny(id, "/.\x00") {
			t.Errorf("%q could leave its directory", id)
		}
		if parent := parentOf(id); parent != "" && (!isZone(parent) || !strings.HasPrefix(id, parent+":")) {
			t.Errorf("parent of %q: %q", id, parent)
		}
		if got := fmt.Sprintf("%x", indexOf(id)); got != strings.TrimLeft(id[strings.LastIndexByte(id, ':')+1:], "0") && got != "0" {
			t.Errorf("index of %q: %s", id, got)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, name := range []string{"package-0", "package-1-die-2", "core", "dram", "psys", "package-", "package-99999999999999999999", "\x00"} {
		f.Add(name)
	}
	parent, _ := placeZone("intel-rapl:0", "package-3", nil)
	f.Fuzz(func(t *testing.T, name string) {
		for _, z := range []*zone{parent, nil} {
			id := "intel-rapl:1"
			if z != nil {
				id = "intel-rapl:0:1"
			}
			placed, why := placeZone(id, name, z)
			if (placed == nil) == (why == "") {
				t.Fatalf("%q: neither placed nor refused", name)
			}
			if placed != nil && placed.Package < 0 && placed.Kind != energy.Psys {
				t.Errorf("%q: a %s of no package", name, placed.Kind)
			}
		}
	})
}
