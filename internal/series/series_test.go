package series_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/scaph/scaph/internal/energy"
	. "github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/snapshot/snapshottest"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// A list is a Sink that keeps what it takes, as text, and checks what every sink relies on.
type list struct {
	t      testing.TB
	metric *Metric
	done   map[string]bool
	lines  []string
}

func (l *list) Add(s *Series) {
	l.t.Helper()
	if s.Metric != l.metric {
		if l.done[s.Name] {
			l.t.Errorf("%s comes in two pieces", s.Name)
		}
		l.metric = s.Metric
		l.done[s.Name] = true
	}
	if (s.Kind == Histogram) != (s.Histogram != nil) {
		l.t.Errorf("%s: a %s with the histogram %v", s.Name, s.Kind, s.Histogram)
	}
	if s.Kind == Gauge && !s.Created.IsZero() {
		l.t.Errorf("%s: a gauge with a creation time", s.Name)
	}
	line := s.Name
	left := s.Values
	for _, name := range s.Labels {
		var value []byte
		value, left = left.Next()
		if !utf8.Valid(value) || len(value) > 256 {
			l.t.Errorf("%s: label %s is %q", s.Name, name, value)
		}
		line += fmt.Sprintf(" %s=%s", name, value)
	}
	if len(left) > 0 {
		l.t.Errorf("%s: more values than labels: %q", s.Name, s.Values)
	}
	l.lines = append(l.lines, line+fmt.Sprint(" ", s.Value, " ", s.Created.Unix()))
}

func walk(t testing.TB, w *Walker, in Input) *list {
	l := &list{t: t, done: map[string]bool{}}
	w.Walk(Native(), in, l)
	return l
}

func status() *Status {
	return &Status{
		Start: time.Unix(1_650_000_000, 0), Version: "1", Revision: "r", GoVersion: "go",
		Tree:   &TreeStatus{Reads: 4, Resumes: 2},
		Errors: []snapshot.ErrorCount{{Component: "json", Count: 3}, {Component: "rapl", Count: 5}},
	}
}

// Every metric of the table has series, in one piece, with as many values as labels.
func TestWalk(t *testing.T) {
	got := walk(t, new(Walker), Input{Snapshot: snapshottest.Odd(), Program: status()})
	for _, m := range Native() {
		if !got.done[m.Name] {
			t.Errorf("no series of %s", m.Name)
		}
	}
	for _, want := range []string{
		"scaph_build_info version=1 revision=r goversion=go 1 ",
		"scaph_errors_total component=rapl 7 1650000000", // the meter's 2 and the program's 5
		"scaph_errors_total component=json 3 1650000000",
		"scaph_tree_reads_total 4 1650000000",
		`scaph_vm_cpu_seconds_total uuid=6b1f3c2e-0000-4000-8000-000000000000 vm=\xffold 5400 1600000000`,
		"scaph_zone_energy_joules_total zone=package package=0 path=intel-rapl:0 source=estimate 5e-06 1500000000",
	} {
		if !slices.ContainsFunc(got.lines, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("no %s in\n%s", want, strings.Join(got.lines, "\n"))
		}
	}
}

// A Walker that has walked over another Snapshot walks as a new one does.
func TestWalkerIsUsedAgain(t *testing.T) {
	var w Walker
	for _, s := range []*snapshot.Snapshot{snapshottest.Odd(), snapshottest.Host(0), snapshottest.Host(7), {}, snapshottest.Odd()} {
		got, want := walk(t, &w, Input{Snapshot: s, Program: status()}), walk(t, new(Walker), Input{Snapshot: s, Program: status()})
		if !slices.Equal(got.lines, want.lines) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got.lines, "\n"), strings.Join(want.lines, "\n"))
		}
	}
}

// What the program alone knows is not shown by those who do not know it.
func TestWithoutProgram(t *testing.T) {
	for _, line := range walk(t, new(Walker), Input{Snapshot: snapshottest.Host(1)}).lines {
		if strings.HasPrefix(line, "scaph_build_info") || strings.HasPrefix(line, "scaph_tree") || strings.Contains(line, "json") {
			t.Error(line)
		}
	}
}

// With psys as the basis, consumers are charged for psys, and the rest counts it alone.
func TestPsysAsBasis(t *testing.T) {
	s := snapshottest.Host(1)
	s.Basis = energy.PsysBasis
	for i := range s.Zones {
		s.Zones[i].Attributed = s.Zones[i].Kind == energy.Psys
	}
	s.Rest = snapshot.Energies{energy.Package: {7, 7}, energy.Psys: {1e6, 2e6}}
	lines := strings.Join(walk(t, new(Walker), Input{Snapshot: s}).lines, "\n")
	for _, want := range []string{" vm=web-000 zone=psys part=idle ", " pid= comm= exe= 3 "} {
		if !strings.Contains(lines, want) {
			t.Errorf("no %s in\n%s", want, lines)
		}
	}
}

type nowhere struct{ n int }

func (s *nowhere) Add(*Series) { s.n++ }

// Nothing is allocated, neither by series nor by names that have to be made printable.
func TestNoAllocation(t *testing.T) {
	for name, s := range map[string]*snapshot.Snapshot{"plain": snapshottest.Host(100), "odd": snapshottest.Odd()} {
		var w Walker
		var sink nowhere
		in, table := Input{Snapshot: s, Program: status()}, Native()
		w.Walk(table, in, &sink)
		if n := testing.AllocsPerRun(20, func() { w.Walk(table, in, &sink) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// The table is in the order of names, and its lines are complete.
func TestTable(t *testing.T) {
	table := Native()
	name := regexp.MustCompile(`^scaph_[a-z]+(_[a-z]+)*$`)
	for i, m := range table {
		if i > 0 && table[i-1].Name >= m.Name {
			t.Errorf("%s stands before %s", table[i-1].Name, m.Name)
		}
		if !name.MatchString(m.Name) || m.Help == "" || strings.ContainsAny(m.Help, "\n|") {
			t.Errorf("%s: %q", m.Name, m.Help)
		}
		if (m.Kind == Counter) != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s is a %s", m.Name, m.Kind)
		}
		if m.Kind == Histogram && m.Labels != nil {
			t.Errorf("%s: a histogram with labels", m.Name)
		}
		for unit, word := range map[string]string{"J": "_joules", "W": "_watts", "s": "_seconds"} {
			if strings.Contains(m.Name, word) != (m.Unit == unit) {
				t.Errorf("%s is in %q", m.Name, m.Unit)
			}
		}
	}
}

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
	const compatHead = "\n## As scaphandre has them\n\n" +
		"With `prometheus.compat` (the default) the series of scaphandre 1.0 are served too, under its names, with its labels and\n" +
		"units, so that its dashboards work. Its faults do not come along: counters do not wrap, every disk has its series,\n" +
		"`cmdline` has spaces between the arguments and a bound. Label values that are empty are no labels to Prometheus.\n\n" +
		"`scaph_process_power_consumption_microwatts` sums up to the power of all processes and VMs: those that have no series of\n" +
		"their own are one, with the `exe` `(rest)`. A process gets its series once it has been looked at, which happens every\n" +
		"5 seconds at most, beside the ticks and the scrapes, and costs some 30 µs for each process that is shown. Disk reads\n" +
		"and writes of other users' processes take CAP_SYS_PTRACE; without it these series are not there.\n\n"
	path := filepath.Join("..", "..", "docs", "metrics.md")
	want := head + Reference(Native()) + compatHead + Reference(Compat())
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s is stale (%v): run make docs", path, err)
	}
}

func BenchmarkWalk(b *testing.B) {
	for _, n := range []int{50, 500} {
		b.Run(fmt.Sprintf("vms=%d", n), func(b *testing.B) {
			var w Walker
			var sink nowhere
			in, table := Input{Snapshot: snapshottest.Host(n), Program: status()}, Native()
			b.ReportAllocs()
			for b.Loop() {
				sink.n = 0
				w.Walk(table, in, &sink)
			}
			b.ReportMetric(float64(sink.n), "series")
		})
	}
}
