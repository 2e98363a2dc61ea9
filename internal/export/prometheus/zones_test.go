package prometheus

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
)

// rendered writes a Snapshot, and makes sure that no series is in it twice.
func rendered(t *testing.T, s *snapshot.Snapshot) string {
	t.Helper()
	var out bytes.Buffer
	if err := WriteText(&out, s); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if _, err := parser.TextToMetricFamilies(bytes.NewReader(out.Bytes())); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		if series, _, _ := strings.Cut(line, " "); series != "#" {
			if seen[series] {
				t.Errorf("twice: %s", series)
			}
			seen[series] = true
		}
	}
	return out.String()
}

// After a change from RAPL to the estimate, each source keeps its own; and zones that look alike are one series.
func TestZonesOfEarlierRuns(t *testing.T) {
	zone := func(path, name string, die int, source string, missing bool, total energy.Microjoules) snapshot.Zone {
		z := snapshot.Zone{
			Zone:  energy.Zone{Path: path, Name: name, Die: die, Source: source},
			Total: total, Attributed: true, Missing: missing, Resets: 1, Uncertain: 2,
		}
		if !missing {
			z.WrapSeconds = 60
		}
		return z
	}
	s := &snapshot.Snapshot{
		Basis: energy.KindsOf(energy.Package),
		Zones: []snapshot.Zone{
			zone("zone:0", "package-0", -1, energy.SourceEstimate, false, 5*energy.Joule),
			zone("zone:0", "package-0", -1, energy.SourcePowercap, true, 100*energy.Joule),        // another sensor
			zone("zone:0", "package-0-die-0", 0, energy.SourcePowercap, true, 20*energy.Joule),    // another kernel
			zone("intel-rapl:1", "package-0", -1, energy.SourcePowercap, true, 1000*energy.Joule), // elsewhere
		},
		Host: snapshot.Host{Energy: 1125 * energy.Joule, Power: 5, Source: energy.SourceEstimate, Sources: []snapshot.HostSource{
			{Source: energy.SourceEstimate, Energy: 5 * energy.Joule, Power: 5, Live: true},
			{Source: energy.SourcePowercap, Energy: 1120 * energy.Joule},
		}},
	}
	s.Zones[3].Mirrors = "zone:0"
	out := rendered(t, s)
	for _, want := range []string{
		`scaph_host_energy_joules_total{source="estimate"} 5`,
		`scaph_host_energy_joules_total{source="powercap"} 1120`,
		`scaph_host_power_watts{source="estimate"} 5`,
		`scaph_zone_energy_joules_total{zone="package",package="0",path="zone:0",source="estimate"} 5`,
		`scaph_zone_energy_joules_total{zone="package",package="0",path="zone:0",source="powercap"} 120`,
		`scaph_zone_energy_joules_total{zone="package",package="0",path="intel-rapl:1",source="powercap"} 1000`,
		`scaph_zone_resets_total{zone="package",package="0",path="zone:0"} 3`,
		`scaph_zone_uncertain_total{zone="package",package="0",path="zone:0"} 6`,
		`scaph_zone_wrap_seconds{zone="package",package="0",path="zone:0"} 60`,
		`scaph_zone_mirrors 1`,
	} {
		if !strings.Contains(out, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(out, `scaph_host_power_watts{source="powercap"}`) {
		t.Error("a source that is not there shows power")
	}
	if t.Failed() {
		t.Log(out)
	}
}

// What nothing splits is shown with its power, its bound where it is integrated, and what it is; it is no host, and
// nobody is charged for it.
func TestZonesThatNothingSplits(t *testing.T) {
	beside := func(path, name string, kind energy.Kind, integrated, missing bool) snapshot.Zone {
		return snapshot.Zone{
			Zone: energy.Zone{
				Path: path, Name: name, Kind: kind, Package: -1, Die: -1, Source: energy.SourceHwmon, Split: energy.ByNothing,
				Integrated: integrated,
			},
			Total: 300 * energy.Joule, Bound: 2 * energy.Joule, Power: 12, Missing: missing,
		}
	}
	text := rendered(t, &snapshot.Snapshot{
		Basis: energy.PackageBasis,
		Zones: []snapshot.Zone{
			{Zone: energy.Zone{Path: "intel-rapl:0", Name: "package-0", Source: energy.SourcePowercap}, Power: 40, Attributed: true},
			beside("hwmon:acpi/power_meter/power1", "power_meter", energy.Platform, true, false),
			beside("hwmon:pci/amdgpu/energy1", "amdgpu \x1b[2J", energy.Device, false, false),
			beside("hwmon:pci/amdgpu/power2", "amdgpu", energy.Device, true, true),
		},
		VMs: []snapshot.VM{{UUID: "u", Name: "vm"}},
	})
	for _, want := range []string{
		`scaph_zone_energy_joules_total{zone="platform",package="",path="hwmon:acpi/power_meter/power1",source="hwmon"} 300`,
		`scaph_zone_energy_bound_joules_total{zone="platform",package="",path="hwmon:acpi/power_meter/power1",source="hwmon"} 2`,
		`scaph_zone_power_watts{zone="platform",package="",path="hwmon:acpi/power_meter/power1",source="hwmon"} 12`,
		`scaph_zone_info{zone="platform",package="",path="hwmon:acpi/power_meter/power1",source="hwmon",name="power_meter",split="nothing"} 1`,
		`scaph_zone_info{zone="package",package="0",path="intel-rapl:0",source="powercap",name="package-0",split="cpu"} 1`,
		`scaph_zone_power_watts{zone="package",package="0",path="intel-rapl:0",source="powercap"} 40`,
		`scaph_zone_energy_joules_total{zone="device",package="",path="hwmon:pci/amdgpu/power2",source="hwmon"} 300`,
		`scaph_zone_info{zone="device",package="",path="hwmon:pci/amdgpu/energy1",source="hwmon",name="amdgpu \\x1b[2J",split="nothing"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	for _, unwanted := range []string{
		`bound_joules_total{zone="device",package="",path="hwmon:pci/amdgpu/energy1"`, `power_watts{zone="device",package="",path="hwmon:pci/amdgpu/power2"`,
	} {
		if strings.Contains(text, unwanted) {
			t.Errorf("there is %s", unwanted)
		}
	}
	for line := range strings.Lines(text) {
		if name, labels, _ := strings.Cut(line, "{"); !strings.HasPrefix(name, "scaph_zone_") &&
			(strings.Contains(labels, `zone="platform"`) || strings.Contains(labels, `zone="device"`) || strings.Contains(labels, "hwmon")) {
			t.Errorf("beside the zones: %s", line)
		}
	}
}
