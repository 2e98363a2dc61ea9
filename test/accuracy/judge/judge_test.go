package judge

import (
	"fmt"
	"strings"
	"testing"
)

// A meter writes the exposition of a made-up meter of one zone: what it charges to a machine, to processes and to
// nobody, in µJ.
func meter(zone, machine, rest, unattributed int64) string {
	return fmt.Sprintf(`# HELP scaph_zone_energy_joules_total Energy.
scaph_zone_energy_joules_total{zone="package",package="0",path="intel-rapl:0"} %.6f
scaph_vm_energy_joules_total{uuid="u1",vm="a \"b\\\n",zone="package",part="active"} %.6f
scaph_vm_cpu_seconds_total{uuid="u1",vm="a \"b\\\n"} 5
scaph_process_energy_joules_total{pid="",comm="",exe=""} %.6f
scaph_unattributed_energy_joules_total{zone="package",reason="unseen"} %.6f
scaph_ledger_error_joules 0
`, float64(zone)/1e6, float64(machine)/1e6, float64(rest)/1e6, float64(unattributed)/1e6)
}

const truth = `{"step":0,"zones_uj":{"intel-rapl:0":0},"accounts_uj":{},"cpu_seconds":{}}
{"step":1,"zones_uj":{"intel-rapl:0":1000},"accounts_uj":{"u1":600,"processes":300,"unseen":100},"cpu_seconds":{"u1":2}}
{"step":2,"zones_uj":{"intel-rapl:0":3000},"accounts_uj":{"u1":1800,"processes":900,"unseen":300},"cpu_seconds":{"u1":5}}
`

func judgeAll(t *testing.T, scrapes ...string) []string {
	t.Helper()
	j := New()
	for _, s := range scrapes {
		if err := j.Scrape(s); err != nil {
			t.Fatal(err)
		}
	}
	v, err := j.Judge(strings.NewReader(truth))
	if err != nil {
		t.Fatal(err)
	}
	return Bounds{VM: 0.01, Processes: 0.01, Unseen: 0.01, Shift: 0.01, Windows: 2}.Broken(v)
}

func TestRightMeterPasses(t *testing.T) {
	if broken := judgeAll(t, meter(0, 0, 0, 0), meter(1000, 600, 300, 100), meter(3000, 1800, 900, 300)); broken != nil {
		t.Error(broken)
	}
}

func TestWrongMetersFail(t *testing.T) {
	good := meter(0, 0, 0, 0)
	for name, c := range map[string]struct {
		scrapes []string
		want    string
	}{
		"a microjoule too few at the end": {[]string{good, meter(1000, 600, 300, 100), meter(2999, 1800, 900, 299)}, "a zone is off by 1 µJ"},
		"a microjoule off in between":     {[]string{good, meter(1001, 601, 300, 100), meter(3000, 1800, 900, 300)}, "1 µJ off every step"},
		"sums differ":                     {[]string{good, meter(3000, 1800, 901, 300)}, "differs from Σ zones by 1 µJ"},
		"machine overcharged":             {[]string{good, meter(3000, 1830, 870, 300)}, "machine's energy is wrong by 1.67 %"},
		"unseen spread":                   {[]string{good, meter(3000, 2000, 1000, 0)}, "unseen energy is wrong by 10.00 %"},
		"counter falls":                   {[]string{good, meter(3000, 1800, 900, 300), meter(1000, 600, 300, 100), meter(3000, 1800, 900, 300)}, "counters fell"},
		"wrong in time, right in sum":     {[]string{good, meter(1000, 300, 600, 100), meter(3000, 1800, 900, 300)}, "went to the wrong account"},
		"hardly seen":                     {[]string{meter(3000, 1800, 900, 300)}, "1 windows seen"},
	} {
		if broken := strings.Join(judgeAll(t, c.scrapes...), "; "); !strings.Contains(broken, c.want) {
			t.Errorf("%s: want %q among: %s", name, c.want, broken)
		}
	}
}

func TestUnreadable(t *testing.T) {
	for _, text := range []string{"nonsense", "a{b=\"c} 1", "a{b} 1", "a x"} {
		if err := New().Scrape(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	j := New()
	if _, err := j.Judge(strings.NewReader(truth)); err == nil {
		t.Error("a verdict without a scrape")
	}
	if err := j.Scrape(meter(1, 1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", truth + "x"} {
		if _, err := j.Judge(strings.NewReader(text)); err == nil {
			t.Errorf("a verdict by the truth %q", text)
		}
	}
}
