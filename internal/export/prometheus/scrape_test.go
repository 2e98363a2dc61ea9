package prometheus

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	prom "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/snapshot/snapshottest"
	"github.com/scaph/scaph/test/rights"
)

var update = flag.Bool("update", false, "write the golden files anew")

// served returns what is served of a Snapshot, in the format that accept asks for.
func served(t testing.TB, s *snapshot.Snapshot, accept string) []byte {
	t.Helper()
	w := get(handler(options(s)), "/metrics", "Accept", accept)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.Bytes()
}

// parse reads a scrape as an independent consumer: series with labels to values.
func parse(t testing.TB, scrape []byte) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(1) // UTF8Validation
	families, err := parser.TextToMetricFamilies(bytes.NewReader(scrape))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// The identity of a scrape, from the text alone: exact to the microjoule after rounding each number.
func TestIdentityOfAScrape(t *testing.T) {
	for _, n := range []int{0, 1, 500} {
		families := parse(t, served(t, host(n), ""))
		sum := func(name string, kinds ...string) (total int64) {
			for _, m := range families[name].GetMetric() {
				if zone := label(m, "zone"); len(kinds) == 0 || slices.Contains(kinds, zone) {
					total += int64(math.Round((m.GetCounter().GetValue() + m.GetGauge().GetValue()) * 1e6))
				}
			}
			return total
		}
		charged := sum("scaph_vm_energy_joules_total", "package", "dram") + sum("scaph_process_energy_joules_total") +
			sum("scaph_unattributed_energy_joules_total", "package", "dram") + sum("scaph_retired_energy_joules", "package", "dram")
		counted := sum("scaph_zone_energy_joules_total", "package", "dram")
		if charged != counted || counted == 0 {
			t.Errorf("%d machines: charged %d µJ, counted %d µJ", n, charged, counted)
		}
		if host := sum("scaph_host_energy_joules_total"); host != counted {
			t.Errorf("%d machines: host %d µJ, zones %d µJ", n, host, counted)
		}
	}
}

// A registry checks what our encoder does not: names, types, labels, duplicates.
func TestConsistency(t *testing.T) {
	checked, err := prom.Gatherers{prom.GathererFunc(func() ([]*dto.MetricFamily, error) {
		return decode(t, served(t, snapshottest.Odd(), protobufType)), nil
	})}.Gather()
	if err != nil {
		t.Error(err)
	}
	names := map[string]bool{}
	for _, f := range checked {
		names[f.GetName()] = true
	}
	for _, m := range series.Native() {
		if !names[m.Name] {
			t.Errorf("no series of %s", m.Name)
		}
	}
}

const protobufType = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

// decode reads a scrape in protobuf.
func decode(t testing.TB, scrape []byte) (families []*dto.MetricFamily) {
	t.Helper()
	for r := bytes.NewReader(scrape); r.Len() > 0; {
		family := new(dto.MetricFamily)
		if err := protodelim.UnmarshalFrom(r, family); err != nil {
			t.Fatal(err)
		}
		families = append(families, family)
	}
	return families
}

// What protobuf says is what the texts say: written by the library, it gives the same bytes.
func TestProtobufSaysTheSame(t *testing.T) {
	h := handler(options(snapshottest.Odd()))
	families := decode(t, get(h, "/metrics", "Accept", protobufType).Body.Bytes())
	for accept, format := range map[string]expfmt.Format{"": expfmt.NewFormat(expfmt.TypeTextPlain), openMetrics: expfmt.NewFormat(expfmt.TypeOpenMetrics)} {
		var want bytes.Buffer
		library := expfmt.NewEncoder(&want, format, expfmt.WithCreatedLines())
		for _, f := range families {
			if err := library.Encode(f); err != nil {
				t.Fatal(err)
			}
		}
		if err := library.(expfmt.Closer).Close(); err != nil {
			t.Fatal(err)
		}
		got := get(h, "/metrics", "Accept", accept).Body.Bytes()
		if got, want := stable(got), stable(want.Bytes()); !bytes.Equal(got, want) {
			t.Error(firstDifference(got, want))
		}
	}
}

func TestPromtool(t *testing.T) {
	rights.Require(t, rights.Program("promtool", "prometheus"))
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = bytes.NewReader(served(t, snapshottest.Host(3), ""))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestSeries(t *testing.T) {
	got := string(served(t, host(1), ""))
	for _, want := range []string{
		`scaph_build_info{version="1.2.3",revision="abc",goversion="go1`,
		`scaph_errors_total{component="rapl"} 2`,
		`scaph_errors_total{component="tree"} 1`,
		"\nscaph_vm_conflicts_total 0\n",
		`scaph_vm_energy_joules_total{uuid="6b1f3c2e-0000-4000-8000-000000000000",vm="web-000",zone="package",part="active"} 1000.000007`,
		`scaph_retired_energy_joules{of="vm",zone="dram"} `,
		`scaph_retired_energy_joules{of="process",zone="package"} `,
		`scaph_vm_info{uuid="6b1f3c2e-0000-4000-8000-000000000000",vm="web-000",title="a machine",vcpus="4",source="libvirt",project="p",user="u",flavor="m1.small"} 1`,
		`scaph_process_energy_joules_total{pid="5000",comm="worker",exe="/usr/bin/worker"} 333.333333`,
		`scaph_process_energy_joules_total{pid="",comm="",exe=""} `,
		`scaph_zone_energy_joules_total{zone="psys",package="",path="intel-rapl:2",source="powercap"} 1e-06`,
		`scaph_zone_wrap_seconds{zone="package",package="1",path="intel-rapl:1"} 7864`,
		`scaph_sample_duration_seconds_bucket{le="0.0025"} 1`,
		`scaph_sample_duration_seconds_bucket{le="+Inf"} 3`,
		`scaph_sample_duration_seconds_count 3`,
		"scaph_ledger_error_joules 0\n",
		"scaph_tree_reads_total 42\n",
		"process_resident_memory_bytes",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no series %s", want)
		}
	}
	for _, not := range []string{`zone="uncore"`, `vm="web-000",zone="psys"`} {
		if strings.Contains(got, not) {
			t.Errorf("a series with %s", not)
		}
	}
}

// With psys as the basis, consumers are charged for psys, and the rest counts it alone.
func TestPsysAsBasis(t *testing.T) {
	s := host(1)
	s.Basis = energy.PsysBasis
	for i := range s.Zones {
		s.Zones[i].Attributed = s.Zones[i].Kind == energy.Psys
	}
	s.Rest = snapshot.Energies{energy.Package: {7, 7}, energy.Psys: {1e6, 2e6}}
	got := string(served(t, s, ""))
	for _, want := range []string{`vm="web-000",zone="psys"`, `{pid="",comm="",exe=""} 3` + "\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
}

// TestMemoryIsUsedAgain scrapes larger and smaller Snapshots, of which the memory of earlier scrapes knows some series, others
// not any more, and others at another place; some at the same time.
func TestMemoryIsUsedAgain(t *testing.T) {
	source := &latest{}
	o := options(nil)
	o.Source = source
	h := handler(o)
	reversed := snapshottest.Host(5)
	slices.Reverse(reversed.VMs)
	born := snapshottest.Host(5)
	born.VMs[2].Created = born.Time
	for range 2 {
		for i, s := range []*snapshot.Snapshot{host(3), host(40), host(0), snapshottest.Odd(), host(5), reversed, born, host(7)} {
			source.snapshot = s
			for _, accept := range []string{"", openMetrics, protobufType} {
				want := ours(t, accept, served(t, s, accept))
				var scrapes sync.WaitGroup
				for range 4 {
					scrapes.Go(func() {
						if got := ours(t, accept, get(h, "/metrics", "Accept", accept).Body.Bytes()); !bytes.Equal(got, want) {
							t.Errorf("Snapshot %d as %q: %s", i, accept, firstDifference(got, want))
						}
					})
				}
				scrapes.Wait()
			}
		}
	}
}

// ours returns what two scrapes of one Snapshot have in common.
func ours(t testing.TB, accept string, scrape []byte) []byte {
	if accept != protobufType {
		return stable(scrape)
	}
	var b bytes.Buffer
	for _, f := range decode(t, scrape) {
		if _, err := expfmt.MetricFamilyToOpenMetrics(&b, f, expfmt.WithCreatedLines()); err != nil {
			t.Error(err)
		}
	}
	return stable(b.Bytes())
}

// A series that is there twice is written once: the second would have the whole scrape refused.
func TestDuplicates(t *testing.T) {
	s := host(2)
	s.FormerVMs = []snapshot.FormerVM{
		{UUID: s.VMs[0].UUID, Name: strings.Repeat("n", 300) + "1"},
		{UUID: s.VMs[0].UUID, Name: strings.Repeat("n", 300) + "2"}, // alike where names are cut
		{UUID: s.VMs[0].UUID, Name: s.VMs[0].Name},
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(served(t, s, ""))) {
		if name, _, _ := strings.Cut(line, "} "); seen[name] && !strings.HasPrefix(line, "#") {
			t.Errorf("twice: %s", line)
		} else {
			seen[name] = true
		}
	}
}

// What a scraper has left is forgotten, and so is what an encoder knew of series that are gone.
func TestForgets(t *testing.T) {
	e := newEncoder(text{open: true})
	table := series.Native()
	for _, n := range []int{100, 3} {
		if err := e.encode(io.Discard, table, series.Input{Snapshot: host(n)}); err != nil {
			t.Fatal(err)
		}
		if len(e.known) != e.used {
			t.Errorf("%d VMs: knows %d series of %d", n, len(e.known), e.used)
		}
	}
	broken := errors.New("gone")
	if err := e.encode(failing{broken}, table, series.Input{Snapshot: host(500)}); !errors.Is(err, broken) {
		t.Errorf("a client that is gone: %v", err)
	}
	var out bytes.Buffer
	if err := e.encode(&out, table, series.Input{Snapshot: host(1)}); err != nil || !strings.HasPrefix(out.String(), "# HELP ") {
		t.Errorf("after it: %v, %.20s", err, out.String())
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// In the steady state nothing is allocated, whatever the number of series.
func TestNoAllocation(t *testing.T) {
	table := series.Native()
	for accept, f := range map[string]format{"text": plain(), "OpenMetrics": openMetricsFormat(), "protobuf": delimited()} {
		e := newEncoder(f)
		in := series.Input{Snapshot: snapshottest.Host(100)}
		encode := func() {
			if err := e.encode(io.Discard, table, in); err != nil {
				t.Fatal(err)
			}
		}
		encode()
		if n := testing.AllocsPerRun(20, encode); n > 100 { // histograms in protobuf
			t.Errorf("%s: %.0f allocations", accept, n)
		}
	}
}

type latest struct{ snapshot *snapshot.Snapshot }

func (l *latest) Latest() *snapshot.Snapshot { return l.snapshot }
