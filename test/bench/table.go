package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"text/tabwriter"
)

// A figure is something that was measured, some times.
type figure []float64

// quantile gives the value at a part of the sorted sample: 0 is the least, 0.5 the median, 1 the most.
func (f figure) quantile(q float64) float64 {
	if len(f) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(f))
	return sorted[int(math.Round(q*float64(len(sorted)-1)))]
}

func (f figure) median() float64 { return f.quantile(0.5) }

func (f figure) mean() float64 {
	sum := 0.0
	for _, v := range f {
		sum += v
	}
	return sum / float64(len(f))
}

// none stands for a bound or a ratio that there is not.
const none = -1

// A row is one budget.
type row struct {
	what     string
	unit     string
	budget   float64 // in the unit, or none
	measured figure
	ratio    float64 // of the median to what stands beside it, or none
	beside   string  // what that is
	atMost   float64 // the bound of the ratio, or none

	// asserted says that the bound is one of counts, sizes or ratios, and must be kept. Where it stands at the
	// ratio, the budget is told only: an absolute time depends on the machine, and on what else it does.
	asserted bool
}

// broken is the verdict that makes a run fail.
const broken = "BROKEN"

func (r row) title() string {
	if r.unit == "" {
		return r.what
	}
	return r.what + ", " + r.unit
}

// verdict says whether the row keeps within its bounds.
func (r row) verdict() string {
	inBudget := r.budget == none || r.measured.median() <= r.budget
	inRatio := r.atMost == none || r.ratio <= r.atMost
	switch {
	case r.asserted && (!inRatio || (r.atMost == none && !inBudget)):
		return broken
	case !inRatio || !inBudget:
		return "over"
	case r.budget == none && r.atMost == none:
		return ""
	default:
		return "ok"
	}
}

// write prints the table and tells whether nothing that is asserted is broken.
func write(out io.Writer, rows []row) bool {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tbudget\tmin\tmedian\tmean\tmax\tratio\tat most\t\t beside\t")
	kept := true
	for _, r := range rows {
		verdict := r.verdict()
		kept = kept && verdict != broken
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t %s\t\n", r.title(), bound(r.budget),
			number(r.measured.quantile(0)), number(r.measured.median()), number(r.measured.mean()), number(r.measured.quantile(1)),
			bound(r.ratio), bound(r.atMost), verdict, r.beside)
	}
	_ = t.Flush() // to a terminal or a buffer
	return kept
}

func bound(v float64) string {
	if v == none {
		return ""
	}
	return number(v)
}

// number writes three significant digits.
func number(v float64) string {
	switch size := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case size >= 100 || size == 0:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case size >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}
