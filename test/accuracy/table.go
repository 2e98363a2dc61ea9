package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/scaph/scaph/test/accuracy/judge"
)

// write prints the report and tells whether everything is as it must be.
func (r *report) write(out io.Writer, scenarios []scenario) bool {
	fmt.Fprintf(out, "%s: seeds 1 to %d, %.0f s\n\nA simulated machine, whose energy is known exactly:\n\n",
		strings.Join(append([]string{"accuracy"}, os.Args[1:]...), " "), r.seeds, r.took.Seconds())
	broken := r.writeSimulated(out, scenarios)
	fmt.Fprint(out, "\nThis machine, with real processes, a simulated RAPL, and a storm of processes of 20 ms:\n\n")
	broken = append(broken, r.writeReal(out)...)
	fmt.Fprint(out, "\nMutants of the product, and why the judge rejects them:\n\n")
	broken = append(broken, writeMutants(out, r.mutants)...)
	fmt.Fprint(out, "\nFurther mutants, and what the tests of the product say to them:\n\n")
	broken = append(broken, writeMutants(out, slices.Concat(r.rules...))...)
	fmt.Fprintln(out)
	for _, b := range broken {
		fmt.Fprintln(out, "BROKEN ", b)
	}
	if len(broken) == 0 {
		fmt.Fprintln(out, "All bounds are kept.")
	}
	return len(broken) == 0
}

func (r *report) writeSimulated(out io.Writer, scenarios []scenario) (broken []string) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\twindows\tconservation\tlost\twraps\tkills\ttree reads\tfalls\terrors\tVM median\tp95\tmax\tprocesses\tunseen is\toff by\tmisplaced\t")
	fmt.Fprintln(t, "\t\tµJ\tµJ\t\t\t\t\t\t%\t%\t%\t%\t%\t%\t%\t")
	for _, s := range scenarios {
		row := sumOf(s, r.verdicts[s.name])
		row.write(t)
		broken = append(broken, row.broken...)
	}
	s := examination(twoPackages)
	s.name = "the oracle"
	row := sumOf(s, []judged{r.oracle})
	row.write(t)
	_ = t.Flush() // errors of the terminal are nobody's business
	fmt.Fprint(out, `
  conservation  worst of Σ consumers less Σ zones, and of the zones less the nearest step of the truth, over all scrapes
  lost          worst of a zone at the end less the truth, and of a guest's counter in the tree less its series
  falls         counters that were seen to decrease, on the tree (read once a millisecond) or in the metrics
  errors        reads that failed or gave nonsense, as counted by the program
  VM            error of each virtual machine's energy over the run, of all machines of all seeds
  unseen        CPU time that no look can show (processes that live between two), as a part of all energy
  misplaced     part of a window's energy that went to the wrong account, in the median window of the worst seed
`)
	return append(broken, row.broken...)
}

func (r *report) writeReal(out io.Writer) (broken []string) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "source\tlength\tstorm\tstorm CPU\tended, charged\tunseen\tattributed\tVM CPU time off\tVM energy off\tprice off\tconservation\t")
	fmt.Fprintln(t, "\ts\tprocesses\ts\ts\ts\t%\tmax %\tmax %\t%\tµJ\t")
	for _, run := range r.real {
		v := run.verdict
		fmt.Fprintf(t, "%s\t%.0f\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t%s\t%s\t%d\t\n", run.source, run.worked.Seconds(), run.count, run.storm,
			v.Ended, v.Unseen, 100*run.attributed(), percent(judge.Quantile(v.VMCPU, 1)), percent(judge.Quantile(v.Share, 1)), percent(v.Price), v.Conservation)
		broken = append(broken, run.broken()...)
	}
	_ = t.Flush()
	fmt.Fprint(out, `
  ended, charged  CPU time charged to processes that have ended, the storm's and any others of this machine
  attributed      that, as a part of it and all that is unseen
  price           what stand-ins for virtual machines pay for a second of CPU time, beside the mean of the machine
`)
	return broken
}

func writeMutants(out io.Writer, mutants []examined) (broken []string) {
	for _, m := range mutants {
		if len(m.reasons) == 0 {
			broken = append(broken, fmt.Sprintf("nobody notices the mutant %q", m.name))
			continue
		}
		fmt.Fprintf(out, "  %-39s %s\n", m.name+":", strings.Join(m.reasons[:min(2, len(m.reasons))], "; "))
	}
	return broken
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
		conservation := v.Conservation
		if s.bounds.Apart {
			conservation = v.Apart
		}
		sum.Conservation = max(sum.Conservation, conservation, v.Identity)
		sum.Lost = max(sum.Lost, v.Lost, v.Tree)
		sum.Decreases = append(sum.Decreases, v.Decreases...)
		sum.TreeReads += v.TreeReads
		sum.Errors += v.Errors
		sum.VM = append(sum.VM, v.VM...)
		sum.Processes = max(sum.Processes, v.Processes)
		sum.Unseen = max(sum.Unseen, v.Unseen)
		sum.UnseenShare = max(sum.UnseenShare, v.UnseenShare)
		sum.shift = max(sum.shift, judge.Quantile(v.Shift, 0.5))
		for _, b := range v.broken {
			sum.broken = append(sum.broken, fmt.Sprintf("%s, seed %d: %s", s.name, v.seed, b))
		}
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
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t\n", r.name, r.Windows, r.Conservation, r.Lost, r.Wraps, r.kills, r.TreeReads, len(r.Decreases), r.Errors,
		strings.Join(vm, "\t"), percent(r.Processes), percent(r.UnseenShare), strings.Join([]string{percent(r.Unseen), percent(r.shift)}, "\t"))
}

func percent(ratio float64) string { return fmt.Sprintf("%.3f", 100*ratio) }
