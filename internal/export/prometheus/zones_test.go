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
