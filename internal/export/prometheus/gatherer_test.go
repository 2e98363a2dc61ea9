package prometheus

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	prom "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/test/rights"
)

var update = flag.Bool("update", false, "write docs/metrics.md and the golden files anew")

func gather(t testing.TB, s *snapshot.Snapshot) []*dto.MetricFamily {
	t.Helper()
	families, _, err := NewGatherer(fixed{s}, counters{}, Build{"1.2.3", "abc"}).Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// text writes families in the text format, as a scraper reads it.
func text(t testing.TB, families []*dto.MetricFamily) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
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
		families := parse(t, text(t, gather(t, host(n))))
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

// A registry checks what Gatherers of our own do not: names, types, labels, duplicates.
func TestConsistency(t *testing.T) {
	s := host(3)
	s.Series = append(s.Series, snapshot.ProcessSeries{PID: 1, Comm: "\xff\x00\"\n\\", Exe: strings.Repeat("ü", 4096)})
	s.FormerVMs = []snapshot.FormerVM{{UUID: s.VMs[0].UUID, Name: "\xffold"}}
	checked, err := prom.Gatherers{prom.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, _, err := NewGatherer(fixed{s}, counters{}, Build{}).Gather()
		return families, err
	})}.Gather()
	if err != nil {
		t.Error(err)
	}
	if len(checked) < int(metricCount) {
		t.Errorf("%d families, %d in the table", len(checked), metricCount)
	}
	for i := range checked[1:] {
		if checked[i].GetName() >= checked[i+1].GetName() {
			t.Errorf("%s before %s", checked[i].GetName(), checked[i+1].GetName())
		}
	}
	for _, f := range checked {
		i := slices.IndexFunc(table[:], func(m metric) bool { return m.name == f.GetName() })
		for _, m := range f.GetMetric() {
			if i >= 0 && len(m.Label) != len(table[i].labels) {
				t.Errorf("%s has labels %v", f.GetName(), m.Label)
			}
		}
	}
}

func TestTableIsInOrder(t *testing.T) {
	for i := range table[1:] {
		if table[i].name >= table[i+1].name {
			t.Errorf("%s stands before %s", table[i].name, table[i+1].name)
		}
	}
}

func TestPromtool(t *testing.T) {
	rights.Require(t, rights.Program("promtool", "prometheus"))
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = bytes.NewReader(text(t, gather(t, host(3))))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestSeries(t *testing.T) {
	scrape := string(text(t, gather(t, host(1))))
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
		if !strings.Contains(scrape, want) {
			t.Errorf("no series %s", want)
		}
	}
	for _, not := range []string{`zone="uncore"`, `vm="web-000",zone="psys"`} {
		if strings.Contains(scrape, not) {
			t.Errorf("a series with %s", not)
		}
	}
	before, _, err := NewGatherer(fixed{}, nil, Build{}).Gather()
	if err != nil || strings.Contains(string(text(t, before)), "joules") || !strings.Contains(string(text(t, before)), "scaph_build_info") {
		t.Errorf("before the first tick: %v, %s", err, text(t, before))
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
	scrape := string(text(t, gather(t, s)))
	for _, want := range []string{`vm="web-000",zone="psys"`, `{pid="",comm="",exe=""} 3` + "\n"} {
		if !strings.Contains(scrape, want) {
			t.Errorf("no %s", want)
		}
	}
}

// TestMemoryIsUsedAgain gathers larger and smaller Snapshots in the same memory, some at the same time.
func TestMemoryIsUsedAgain(t *testing.T) {
	source := &latest{}
	g := NewGatherer(source, counters{}, Build{"1.2.3", "abc"})
	ours := func(families []*dto.MetricFamily) string {
		t.Helper()
		return string(text(t, slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return !strings.HasPrefix(f.GetName(), "scaph_") })))
	}
	for range 3 {
		for _, machines := range []int{3, 40, 0, 7} {
			source.snapshot = host(machines)
			want := ours(gather(t, source.snapshot))
			var scrapes sync.WaitGroup
			for range 4 {
				scrapes.Go(func() {
					families, done, err := g.Gather()
					if err != nil {
						t.Error(err)
					}
					defer done()
					if got := ours(families); got != want {
						t.Errorf("%d machines:\n%s\nin new memory:\n%s", machines, got, want)
					}
				})
			}
			scrapes.Wait()
		}
	}
}

type latest struct{ snapshot *snapshot.Snapshot }

func (l *latest) Latest() *snapshot.Snapshot { return l.snapshot }

// docs/metrics.md holds the table as it is. "make docs" writes it.
func TestReference(t *testing.T) {
	const head = "# Metrics\n\n" +
		"What `scaph-host` and `scaph-guest` serve at `/metrics`. This page is made from the program (`make docs`).\n\n" +
		"Energies are in joules and only ever grow. In every scrape, for the zones `package` and `dram` (or `psys`, where\n" +
		"`sensor.basis` says so), to the microjoule:\n\n" +
		"    Σ scaph_vm_energy_joules_total + Σ scaph_process_energy_joules_total + Σ scaph_unattributed_energy_joules_total\n" +
		"      + Σ scaph_retired_energy_joules = Σ scaph_zone_energy_joules_total\n\n" +
		"and between any two scrapes, for what they grew by, without the retired:\n\n" +
		"    Σ increase(scaph_vm_energy_joules_total) + Σ increase(scaph_process_energy_joules_total)\n" +
		"      + Σ increase(scaph_unattributed_energy_joules_total) = Σ increase(scaph_zone_energy_joules_total)\n\n" +
		"[Sums and rates](attribution.md#sums-and-rates) has the queries, and says when a series begins and ends.\n\n" +
		"`core` and `uncore` are parts of `package`, shown but not added. Label values that are not printable UTF-8 are\n" +
		"shown as `\\xNN`, and cut at 256 bytes. The standard `process_*` metrics tell what metering itself costs.\n\n" +
		"Counters carry the time at which they were 0, in OpenMetrics (as `…_created`) and in the protobuf format. A\n" +
		"Prometheus that knows creation times asks for protobuf (`--enable-feature=created-timestamp-zero-ingestion`).\n" +
		"One that does not stores each `…_created` as a series of its own, unless the scrape drops them:\n\n" +
		"```yaml\nmetric_relabel_configs:\n  - {source_labels: [__name__], regex: 'scaph_.*_created', action: drop}\n```\n\n"
	path := filepath.Join("..", "..", "..", "docs", "metrics.md")
	want := head + Reference()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s is stale (%v): run make docs", path, err)
	}
}

func BenchmarkFormat(b *testing.B) {
	for _, n := range []int{50, 500} {
		b.Run(fmt.Sprintf("vms=%d", n), func(b *testing.B) {
			s := host(n)
			memory := new(builder)
			b.ReportAllocs()
			for b.Loop() {
				memory.reset(seriesOf(s))
				memory.addSnapshot(s)
			}
		})
	}
}
