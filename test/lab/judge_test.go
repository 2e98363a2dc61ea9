//go:build lab

package lab

import (
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/test/lab/reads"
	"github.com/scaph/scaph/test/metrics"
)

// honest is a scrape whose identity holds: 5 J + 2 J of zones; core is a part of package.
const honest = `# TYPE scaph_zone_energy_joules_total counter
scaph_zone_energy_joules_total{zone="package",path="intel-rapl:0"} 5.000001
scaph_zone_energy_joules_total{zone="core",path="intel-rapl:0:0"} 4
scaph_zone_energy_joules_total{zone="dram",path="intel-rapl:0:1"} 2
# TYPE scaph_vm_energy_joules_total counter
scaph_vm_energy_joules_total{uuid="u",zone="package",part="active"} 3.000001
scaph_vm_energy_joules_total{uuid="u",zone="core",part="active"} 3
scaph_vm_energy_joules_total{uuid="u",zone="dram",part="idle"} 1
# TYPE scaph_process_energy_joules_total counter
scaph_process_energy_joules_total{pid=""} 1.5
scaph_process_energy_joules_total{pid="7"} 0.5
# TYPE scaph_unattributed_energy_joules_total counter
scaph_unattributed_energy_joules_total{zone="package",reason="unseen"} 1
# TYPE scaph_ledger_error_joules gauge
scaph_ledger_error_joules 0
`

func parsed(t *testing.T, text string) *scrape {
	t.Helper()
	s, err := metrics.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return &scrape{s}
}

// TestJudgeCanFail shows that the judge notices a single microjoule.
func TestJudgeCanFail(t *testing.T) {
	whole := parsed(t, honest)
	if err := whole.identity(); err != nil {
		t.Error(err)
	}
	broken := map[string]string{
		"a microjoule too much": replaced(t, `pid=""} 1.5`, `pid=""} 1.500001`),
		"a microjoule lost":     replaced(t, `zone="dram",path="intel-rapl:0:1"} 2`, `zone="dram",path="intel-rapl:0:1"} 2.000001`),
		"an error of the books": replaced(t, "joules 0\n", "joules 0.000001\n"),
	}
	for what, text := range broken {
		if parsed(t, text).identity() == nil {
			t.Errorf("%s: not noticed", what)
		}
	}
	if found := falls(whole, parsed(t, replaced(t, `pid="7"} 0.5`, `pid="7"} 0.499999`))); len(found) != 1 {
		t.Errorf("a counter that fell: %v", found)
	}
	if found := falls(whole, parsed(t, replaced(t, `{pid=""} 1.5`, `{pid="8"} 1.5`))); len(found) != 1 {
		t.Errorf("a series that must stay is gone: %v", found)
	}
	if found := falls(whole, parsed(t, replaced(t, `{pid="7"} 0.5`, `{pid="8"} 0.5`))); len(found) != 0 {
		t.Errorf("a listed process may go: %v", found)
	}
}

func TestJudgeFollowsACounter(t *testing.T) {
	start := time.Now()
	counter := vmCounter{}
	for i, v := range []uint64{100, 250, 400, 700} {
		counter = append(counter, reads.Value{Value: v, At: start.Add(time.Duration(i) * time.Second)})
	}
	if got := counter.place(start.Add(1500 * time.Millisecond)); got != 1 {
		t.Errorf("place %d", got)
	}
	if got := counter.place(start.Add(-time.Second)); got != -1 {
		t.Errorf("place before the first: %d", got)
	}
	if !follows(counter.index(), 250, []uint64{0, 150, 450}) || follows(counter.index(), 250, []uint64{0, 151}) {
		t.Error("follows is wrong")
	}
}

// TestJudgeOfIncreasesCanFail shows what add notices. The honest samples are three scrapes of 10 J each, of a process
// that is seen at 0, counts and ends, and of a VM that is created between the first two.
func TestJudgeOfIncreasesCanFail(t *testing.T) {
	const created, before = 1.5, 0.5 // the scrapes are at 1, 2 and 3 s
	samples := func(rest, process, vm, retired [3]float64, vmCreated float64) []history {
		series := func(name string, values [3]float64, labels ...string) history {
			h := history{Metric: map[string]string{"__name__": name, "job": "j", "instance": "i"}}
			for i := 0; i < len(labels); i += 2 {
				h.Metric[labels[i]] = labels[i+1]
			}
			for i, v := range values {
				if v >= 0 { // else it is not there
					h.Values = append(h.Values, point{at: int64(1000 * (i + 1)), value: v})
				}
			}
			return h
		}
		return []history{
			series(zoneFamily, [3]float64{10, 20, 30}, "zone", "package"),
			series(zoneFamily, [3]float64{7, 14, 21}, "zone", "core"),
			series(processFamily, rest, "pid", ""),
			series(processFamily, process, "pid", "7"),
			series(vmFamily, vm, "uuid", "u", "zone", "package"),
			series("scaph_vm_energy_joules_created", [3]float64{-1, vmCreated, vmCreated}, "uuid", "u", "zone", "package"),
			series(retiredFamily, retired, "of", "process"),
		}
	}
	for _, c := range []struct {
		what                       string
		rest, process, vm, retired [3]float64
		created                    float64
		faults                     bool
	}{
		{"honest", [3]float64{10, 12, 20}, [3]float64{0, 5, -1}, [3]float64{-1, 3, 5}, [3]float64{0, 0, 5}, created, false},
		{"moves what it has shown", [3]float64{10, 12, 25}, [3]float64{0, 5, -1}, [3]float64{-1, 3, 5}, [3]float64{0, 0, 0}, created, true},
		{"was never seen at 0", [3]float64{10, 12, 20}, [3]float64{-1, 5, -1}, [3]float64{-1, 3, 5}, [3]float64{0, 0, 5}, created, true},
		{"takes a past along", [3]float64{10, 12, 20}, [3]float64{0, 5, -1}, [3]float64{-1, 3, 5}, [3]float64{0, 0, 5}, before, true},
		{"a microjoule too much", [3]float64{10, 12, 20.000001}, [3]float64{0, 5, -1}, [3]float64{-1, 3, 5}, [3]float64{0, 0, 5}, created, true},
		{"back and forth", [3]float64{10, 5, 20}, [3]float64{0, 12, -1}, [3]float64{-1, 3, 5}, [3]float64{0, 0, 5}, created, true},
	} {
		if s := add(samples(c.rest, c.process, c.vm, c.retired, c.created), 1000); (len(s.faults) > 0) != c.faults {
			t.Errorf("%s: ratio %v, %q", c.what, s.ratio(), s.faults)
		}
	}
}

// replaced gives the honest scrape with one thing changed.
func replaced(t *testing.T, before, after string) string {
	t.Helper()
	if strings.Count(honest, before) != 1 {
		t.Fatalf("%q is not in the scrape just once", before)
	}
	return strings.Replace(honest, before, after, 1)
}

// TestJudgeSharesNoCode holds what makes a verdict worth something.
func TestJudgeSharesNoCode(t *testing.T) {
	code, deps, stderr := command(t, "go", "list", "-deps", "-test", "-tags", "lab", "./...")
	if code != 0 {
		t.Fatal(stderr)
	}
	for dep := range strings.Lines(deps) {
		if strings.Contains(dep, "scaph/internal/") || strings.Contains(dep, "scaph/cmd/") {
			t.Errorf("the laboratory imports %s", dep)
		}
	}
}
