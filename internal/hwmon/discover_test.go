package hwmon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

func TestZonesOfAServer(t *testing.T) {
	sysfs := extract(t, "server")
	r, err := Open(sysfs, quiet)
	must(t, err)
	defer func() { must(t, r.Close()) }()

	device := func(path, name string, integrated bool) energy.Zone {
		return energy.Zone{
			Path: "hwmon:" + path, Name: name, Kind: energy.Device, Package: -1, Die: -1,
			Source: energy.SourceHwmon, Split: energy.ByNothing, Integrated: integrated,
		}
	}
	platform := device("LNXSYSTM:00/LNXSYBUS:00/ACPI000D:00/power_meter/power1", "power_meter", true)
	platform.Kind = energy.Platform
	want := []energy.Zone{
		platform,
		device("pci0000:00/0000:00:03.1/0000:0a:00.0/amdgpu/power1", "amdgpu PPT", true),
		device("pci0000:00/0000:00:1f.4/i2c-1/1-0040/ina238/energy1", "ina238", false), // and not its power1
		device("platform/smpro-hwmon.0/smpro/power1", "smpro CPU power", true),
		device("platform/smpro-hwmon.0/smpro/power2", "smpro IO power", true),
		device("virtual/battery/power1", "battery", true),
	}
	if got := r.Zones(); !slices.Equal(got, want) {
		t.Errorf("zones\n%v\nwant\n%v", lines(got), lines(want))
	}
	if got := Look(sysfs); !slices.Equal(got, want) {
		t.Errorf("Look: %v", lines(got))
	}
	readings := make([]energy.Reading, len(want))
	r.Read(readings)
	for i, reading := range readings {
		if reading.Err != nil {
			t.Errorf("%s: %v", want[i].Path, reading.Err)
		}
	}
	if readings[2].Energy != 7*energy.Joule {
		t.Errorf("the counter of energy: %v", readings[2].Energy)
	}
	r.Read(readings[:2]) // what does not fit is left out
}

func lines(zones []energy.Zone) string {
	var b strings.Builder
	for _, z := range zones {
		fmt.Fprintf(&b, "%+v\n", z)
	}
	return b.String()
}

func TestUpdateIntervals(t *testing.T) {
	found, err := discover(extract(t, "server"), readFile)
	must(t, err)
	got := map[string]time.Duration{}
	for _, c := range found.chips {
		for _, f := range c.channels {
			got[c.name+" "+f.file] = f.updates
		}
	}
	for file, want := range map[string]time.Duration{
		"power_meter power1_average": 2 * time.Second, "smpro power2_input": 500 * time.Millisecond, "amdgpu power1_average": 0,
	} {
		if got[file] != want {
			t.Errorf("%s: %v, want %v", file, got[file], want)
		}
	}
}

func TestFilesInTheDirectoryOfTheDevice(t *testing.T) {
	zones := Look(extract(t, "old-layout"))
	if len(zones) != 1 || zones[0].Path != "hwmon:LNXSYSTM:00/ACPI000D:00/power_meter/power1" || zones[0].Kind != energy.Platform {
		t.Errorf("%v", lines(zones))
	}
}

func TestNone(t *testing.T) {
	empty := t.TempDir()
	if _, err := Open(empty, quiet); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), empty) {
		t.Errorf("no class/hwmon: %v", err)
	}
	must(t, os.MkdirAll(filepath.Join(empty, "class/hwmon/hwmon0"), 0o755))
	if _, err := Open(empty, quiet); !errors.Is(err, ErrNone) {
		t.Errorf("a chip without files: %v", err)
	}
	broken := t.TempDir()
	write(t, filepath.Join(broken, "class/hwmon"), "a file")
	if _, err := Open(broken, quiet); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("class/hwmon cannot be listed: %v", err)
	}
}

// What stands in the files of one chip is never a reason to lose another, nor too many channels one
// to have them all.
func TestHostileChips(t *testing.T) {
	sysfs := t.TempDir()
	chip := func(n int, files map[string]string) {
		for name, content := range files {
			write(t, filepath.Join(sysfs, "class/hwmon", fmt.Sprintf("hwmon%d", n), name), content)
		}
	}
	chip(0, map[string]string{"name": strings.Repeat("x", 4000), "power1_input": "1\n"})
	chip(1, map[string]string{"name": "", "power1_input": "1\n"})
	chip(2, map[string]string{"name": "ok\n", "power1_input": "1\n", "power1_label": strings.Repeat("y", 4000), "power1_input_interval": "-5"})
	chip(3, map[string]string{"name": "ok\n", "power7_input": "1\n"}) // the same name on the same device
	many := map[string]string{"name": "many\n"}
	for i := range 300 {
		many[fmt.Sprintf("energy%d_input", i)] = "1\n"
	}
	chip(4, many)
	must(t, os.Symlink("hwmon9", filepath.Join(sysfs, "class/hwmon/hwmon9"))) // a link to itself

	found, err := discover(sysfs, readFile)
	must(t, err)
	zones := found.zones()
	if len(zones) != maxZones || found.over != 301-maxZones {
		t.Errorf("%d zones, %d left out", len(zones), found.over)
	}
	if i := slices.IndexFunc(zones, func(z energy.Zone) bool { return z.Name == "many" && strings.HasSuffix(z.Path, "energy9") }); i < 0 {
		t.Error("channels are not in the order of their numbers")
	}
	for _, z := range zones {
		if len(z.Name) > 2*maxText {
			t.Errorf("name of %d bytes", len(z.Name))
		}
	}
}

func FuzzParseFile(f *testing.F) {
	for _, s := range []string{"power1_average", "energy12_input", "power01_input", "power_input", "power1", "power99999999_input", "temp1_input"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		q, index, item, ok := parseFile(name)
		if ok && channelName(q, index)+"_"+item != name {
			t.Errorf("%q is taken for %s %d %s", name, q, index, item)
		}
	})
}
