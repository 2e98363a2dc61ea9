package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/scaph/scaph/test/accuracy/judge"
)

// write prints the report and tells whether everything is as it must be.
func (r *report) write(out io.Writer, scenarios []scenario) bool {
	good := true
	fmt.Fprintf(out, "%s: %d seeds, %.0f s\n\n", strings.Join(append([]string{"accuracy"}, os.Args[1:]...), " "), r.seeds, r.took.Seconds())
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "scenario\twindows\tconservation\tlost\twraps\tkills\ttree reads\tfalls\tVM median\tp95\tmax\tprocesses\tunseen is\toff by\tmisplaced\t")
	fmt.Fprintln(t, "\t\tµJ\tµJ\t\t\t\t\t%\t%\t%\t%\t%\t%\t%\t")
	for _, s := range scenarios {
		row := sumOf(s, r.verdicts[s.name])
		good = good && len(row.broken) == 0
		row.write(t)
	}
	row := sumOf(examination(false), []judged{r.oracle})
	row.name = "oracle"
	good = good && len(row.broken) == 0
	row.write(t)
	_ = t.Flush() // to a terminal or a buffer

	fmt.Fprintln(out, "\nThe worst of all seeds; VM: of all virtual machines of all seeds. unseen: CPU time of processes that nobody could see, "+
		"as a part\nof all energy. misplaced: energy of a window that went to the wrong account, in the median window.")
	for _, s := range scenarios {
		for _, v := range r.verdicts[s.name] {
			for _, b := range v.broken {
				fmt.Fprintf(out, "BROKEN  %s, seed %d: %s\n", s.name, v.seed, b)
			}
		}
	}
	for _, b := range r.oracle.broken {
		fmt.Fprintf(out, "BROKEN  the oracle: %s\n", b)
	}
	fmt.Fprintln(out, "\nmutant of the product: why the judge rejects it")
	for _, m := range r.mutants {
		if len(m.reasons) == 0 {
			good = false
			fmt.Fprintf(out, "  BROKEN  %s: the judge did not notice\n", m.name)
			continue
		}
		fmt.Fprintf(out, "  %-28s %s\n", m.name+":", strings.Join(m.reasons[:min(2, len(m.reasons))], "; "))
	}
	return good
}

// A row sums up the runs of one scenario.
type row struct {
	judge.Verdict
	name   string
	kills  int
	broken []string
	shift  float64
}

func sumOf(s scenario, runs []judged) row {
	sum := row{name: s.name, kills: s.kills * len(runs)}
	for _, v := range runs {
		sum.Windows += v.Windows
		sum.Wraps += v.Wraps
		sum.Conservation = max(sum.Conservation, v.Conservation, v.Identity)
		sum.Lost = max(sum.Lost, v.Lost, v.Tree)
		sum.Decreases = append(sum.Decreases, v.Decreases...)
		sum.TreeReads += v.TreeReads
		sum.VM = append(sum.VM, v.VM...)
		sum.Processes = max(sum.Processes, v.Processes)
		sum.Unseen = max(sum.Unseen, v.Unseen)
		sum.UnseenShare = max(sum.UnseenShare, v.UnseenShare)
		sum.shift = max(sum.shift, judge.Quantile(v.Shift, 0.5))
		sum.broken = append(sum.broken, v.broken...)
	}
	return sum
}

func (r row) write(w io.Writer) {
	vm := []string{"-", "-", "-"}
	if len(r.VM) > 0 {
		for i, q := range []float64{0.5, 0.95, 1} {
			vm[i] = percent(judge.Quantile(r.VM, q))
		}
	}
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t\n", r.name, r.Windows, r.Conservation, r.Lost, r.Wraps, r.kills, r.TreeReads, len(r.Decreases),
		strings.Join(vm, "\t"), percent(r.Processes), percent(r.UnseenShare), strings.Join([]string{percent(r.Unseen), percent(r.shift)}, "\t"))
}

func percent(ratio float64) string { return fmt.Sprintf("%.3f", 100*ratio) }
