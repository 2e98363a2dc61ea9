package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/scaph/scaph/test/rights"
)

func TestGoBench(t *testing.T) {
	g := goBench{}
	for line := range strings.Lines(`goos: linux
BenchmarkRead/tree/vms=5-2   28555   51555 ns/op   30.27 p50-µs   32 allocs/op
BenchmarkRead/tree/vms=5-2   28555   51555 ns/op   31.00 p50-µs   32 allocs/op
BenchmarkBroken-2   ---
Benchmark
BenchmarkOdd-2   12   x ns/op
ok  	somewhere	1.532s
`) {
		g.add(line)
	}
	if got, err := g.of("BenchmarkRead/tree/vms=5", "p50-µs"); err != nil || len(got) != 2 || got[0] != 30.27 || got[1] != 31 {
		t.Error(got, err)
	}
	if _, err := g.of("BenchmarkOdd", "ns/op"); err == nil {
		t.Error("a value that is no number was taken")
	}
	if len(g) != 1 {
		t.Error(g)
	}
	if _, err := g.rows(); err == nil || !strings.Contains(err.Error(), "BenchmarkTick") {
		t.Errorf("results that are not there were not missed: %v", err)
	}
}

func TestFigure(t *testing.T) {
	f := figure{5, 1, 3, 2, 4}
	if f.quantile(0) != 1 || f.median() != 3 || f.quantile(1) != 5 || f.mean() != 3 || f[0] != 5 {
		t.Error(f.quantile(0), f.median(), f.quantile(1), f.mean(), f)
	}
	grown := growth(population{processes: 1000}, population{processes: 3000}, figure{300, 100, 200}, figure{4100, 2200, 6300})
	if grown.quantile(0) != 1.05 || grown.median() != 1.95 || grown.quantile(1) != 3 {
		t.Error(grown)
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name string
		row  row
		want string
	}{
		{"no bound", row{budget: none, ratio: 3, atMost: none}, ""},
		{"in budget", row{budget: 2, ratio: none, atMost: none}, "ok"},
		{"a time is told", row{budget: 0.5, ratio: none, atMost: none}, "over"},
		{"a size is asserted", row{budget: 0.5, ratio: none, atMost: none, asserted: true}, broken},
		{"in budget, not in ratio", row{budget: 2, ratio: 0.06, atMost: 0.05, asserted: true}, broken},
		{"in ratio, not in budget", row{budget: 0.5, ratio: 0.04, atMost: 0.05, asserted: true}, "over"},
		{"a ratio that is told", row{budget: none, ratio: 1.5, atMost: 1.25}, "over"},
		{"none at all", row{budget: 0, ratio: none, atMost: none, asserted: true}, broken},
	} {
		c.row.measured = figure{1}
		if got := c.row.verdict(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		var text bytes.Buffer
		if kept := write(&text, []row{c.row}); kept != (c.want != broken) {
			t.Errorf("%s: kept %v\n%s", c.name, kept, &text)
		}
	}
}

func TestCrowd(t *testing.T) {
	rights.Require(t, rights.Program("cc", "gcc libc6-dev"))
	crowds, err := newCrowdMaker(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := crowds.machines(3, 100)
	if err != nil {
		t.Fatal(err)
	}
	pid := c.program.Process.Pid
	if before, err := cpuTime(pid); err != nil || before <= 0 {
		t.Errorf("CPU time %v: %v", before, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := cpuTime(pid); err == nil {
		t.Error("it is still there")
	}
}
