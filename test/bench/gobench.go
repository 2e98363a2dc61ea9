package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// goBench holds the results of the Go benchmarks: by name, unit and run.
type goBench map[string]map[string][]float64

// procs is what the go tool puts after a benchmark's name: GOMAXPROCS.
var procs = regexp.MustCompile(`-\d+$`)

// runGoBench runs the benchmarks of the hot paths and shows their output as it comes, which benchstat reads.
func runGoBench(ctx context.Context, out io.Writer) (goBench, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchmem", "-tags", "libvirt_dlopen",
		"./internal/...", "./test/bench")
	cmd.Stderr = os.Stderr
	text, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	results := goBench{}
	for lines := bufio.NewScanner(text); lines.Scan(); {
		line := lines.Text()
		if strings.HasSuffix(line, "[no test files]") || strings.HasPrefix(line, "PASS") {
			continue
		}
		fmt.Fprintln(out, line)
		results.add(line)
	}
	if err := cmd.Wait(); err != nil {
		return results, fmt.Errorf("go test -bench: %w", err)
	}
	return results, nil
}

// add takes a line in: a name, the number of iterations, and pairs of a value and its unit. Lines that are no result
// are left out.
func (g goBench) add(line string) {
	fields := strings.Fields(line)
	if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
		return
	}
	name := procs.ReplaceAllString(fields[0], "")
	for i := 2; i+1 < len(fields); i += 2 {
		value, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return
		}
		if g[name] == nil {
			g[name] = map[string][]float64{}
		}
		g[name][fields[i+1]] = append(g[name][fields[i+1]], value)
	}
}

// of gives the results of one benchmark in one unit; the error names what is not there.
func (g goBench) of(name, unit string) ([]float64, error) {
	if values := g[name][unit]; len(values) > 0 {
		return values, nil
	}
	return nil, fmt.Errorf("the Go benchmarks have no %s in %s", name, unit)
}

// rows sets the results of some Go benchmarks against the budgets.
func (g goBench) rows() ([]row, error) {
	var rows []row
	var missing error
	get := func(name, unit string) figure {
		values, err := g.of(name, unit)
		missing = errors.Join(missing, err)
		return values
	}
	// Another process that comes or goes meanwhile costs some allocations: a hundredth of one per process is none.
	const hardlyAny = 0.01
	for _, source := range []string{"bpf", "procfs"} {
		few := get(fmt.Sprintf("BenchmarkTick/source=%s/idle=0/machines=0", source), "allocs/op")
		many := get(fmt.Sprintf("BenchmarkTick/source=%s/idle=%d/machines=%d", source, idleFew, machinesFew), "allocs/op")
		rows = append(rows,
			row{what: source + " tick, heap allocations", budget: none, measured: many, ratio: none, atMost: none},
			row{what: source + " tick, heap allocations per process and machine", budget: hardlyAny,
				measured: figure{max(0, many.median()-few.median()) / (idleFew + machinesFew)}, ratio: none, atMost: none, asserted: true})
	}
	for _, machines := range []int{5, 500} {
		tree := scaled(get(fmt.Sprintf("BenchmarkRead/tree/vms=%d", machines), "p50-µs"), 1e-3)
		plain := scaled(get(fmt.Sprintf("BenchmarkRead/go-fuse/vms=%d", machines), "p50-µs"), 1e-3)
		rows = append(rows, row{what: fmt.Sprintf("a file of the tree, %d machines, p50", machines), unit: "ms", budget: 0.15, measured: tree,
			ratio: tree.median() / plain.median(), atMost: none, beside: "minimal go-fuse server"})
	}
	five, fiveHundred := get("BenchmarkRead/tree/vms=5", "p50-µs"), get("BenchmarkRead/tree/vms=500", "p50-µs")
	// The two are measured one after the other, on a machine that has more to do.
	const asFast = 1.25
	rows = append(rows, row{what: "a file of the tree, 500 machines, p50", unit: "µs", budget: none, measured: fiveHundred,
		ratio: fiveHundred.median() / five.median(), atMost: asFast, beside: "5 machines"})
	return rows, missing
}
