package prometheus

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
)

// odd makes a Snapshot in which everything that decides the form of a series occurs: names from outside that are no label
// values, VMs under former names, zones of earlier runs with the labels of present ones, counters without creation times.
func odd() *snapshot.Snapshot {
	s := host(3)
	s.VMs[1].Name, s.VMs[1].Title = "quote\" back\\slash\nline", "\xff\x00"+strings.Repeat("ü", 300)
	s.VMs[2].Created, s.VMs[2].Source, s.VMs[2].VCPUs = time.Time{}, "argv", 12345
	s.VMs[2].Power = energy.Watts(1e-9)
	s.FormerVMs = []snapshot.FormerVM{
		{UUID: s.VMs[0].UUID, Name: "\xffold", Energy: s.VMs[0].Energy, CPU: 90 * time.Minute, Created: s.Created},
		{UUID: s.VMs[1].UUID, Name: "older"},
	}
	s.Series = append(s.Series,
		snapshot.ProcessSeries{PID: 1, Comm: "\xff\x00\"\n\\", Exe: strings.Repeat("ü", 4096), Energy: 1<<53 + 1, Created: time.Unix(1_650_000_000, 123_456_789)},
		snapshot.ProcessSeries{PID: 2, Comm: "", Exe: ""})
	s.Rebased[energy.Package] = -1 << 60
	s.LedgerError = -3
	earlier := s.Zones[0]
	earlier.Missing, earlier.Source, earlier.Created, earlier.Total = true, energy.SourceEstimate, time.Unix(1_500_000_000, 0), 5
	same := s.Zones[0]
	same.Missing, same.Total, same.Uncertain, same.Resets, same.WrapSeconds = true, 7, 3, 2, 0
	s.Zones[3].Mirrors = s.Zones[0].Path
	s.Zones[4].WrapSeconds, s.Zones[4].Created = 0, time.Time{}
	s.Zones = append(s.Zones, earlier, same)
	s.Host.Sources = append(s.Host.Sources, snapshot.HostSource{Source: energy.SourceEstimate, Energy: 5, Power: 1, Created: earlier.Created})
	s.Errors = append(s.Errors, snapshot.ErrorCount{Component: "libvirt", Count: 1<<53 + 1})
	return s
}

var (
	goVersion  = regexp.MustCompile(`goversion="[^"]*"`)
	createdRow = regexp.MustCompile(`(?m)^(scaph_\w+_created(?:\{.*\})?) (\S+)$`)
)

// comparable leaves out of a scrape what another run or another release of Go has otherwise: the figures of the process, and
// the start of the program as a creation time.
func comparable(scrape []byte) []byte {
	var ours bytes.Buffer
	for line := range bytes.Lines(scrape) {
		name := bytes.TrimPrefix(bytes.TrimPrefix(line, []byte("# HELP ")), []byte("# TYPE "))
		if !bytes.HasPrefix(name, []byte("process_")) {
			ours.Write(line)
		}
	}
	out := goVersion.ReplaceAll(ours.Bytes(), []byte(`goversion="GO"`))
	return createdRow.ReplaceAllFunc(out, func(row []byte) []byte {
		at := bytes.LastIndexByte(row, ' ') + 1
		if value := string(row[at:]); strings.HasPrefix(value, "1.5") || strings.HasPrefix(value, "1.6") || value == "0" {
			return row
		}
		return append(row[:at:at], "START"...)
	})
}

// What is served of a fixture host, byte for byte.
func TestGolden(t *testing.T) {
	for name, s := range map[string]*snapshot.Snapshot{"host": host(3), "odd": odd()} {
		for format, accept := range map[string]string{"txt": "", "openmetrics": openMetrics} {
			got := comparable(get(handler(options(s)), "/metrics", "Accept", accept).Body.Bytes())
			path := filepath.Join("testdata", name+"."+format)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s (%v): not as served:\n%s", path, err, firstDifference(got, want))
			}
		}
	}
}

func firstDifference(got, want []byte) string {
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(g), len(w)) {
		if !bytes.Equal(g[i], w[i]) {
			return "got  " + string(g[i]) + "\nwant " + string(w[i])
		}
	}
	return "one is the beginning of the other"
}
