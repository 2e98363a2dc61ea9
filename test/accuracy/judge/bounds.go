package judge

import (
	"fmt"
	"slices"
)

// Bounds are what a meter has to keep. A negative one is not judged.
type Bounds struct {
	VM        float64 // largest error of a virtual machine's energy and CPU time
	Processes float64 // largest error of the energy of all ordinary processes
	Unseen    float64 // largest error of the unseen energy, as a part of all energy
	Shift     float64 // median of the part of a window's energy that went to the wrong account
	Windows   int     // at least so many were seen
	Apart     bool    // zones may stand at different steps, as they could not all be read
	Errors    int     // at least so many must have been counted
}

// sleeperPerWindow is what a running machine that does nothing gains at each settlement, so that its counter
// moves, in µJ for each of its zones.
const sleeperPerWindow = 8

// Broken lists the bounds that a verdict breaks, in words.
func (b Bounds) Broken(v Verdict) []string {
	var broken []string
	check := func(ok bool, format string, args ...any) {
		if !ok {
			broken = append(broken, fmt.Sprintf(format, args...))
		}
	}
	check(v.Windows >= b.Windows, "%d windows seen, at least %d expected", v.Windows, b.Windows)
	if b.Apart {
		check(v.Apart == 0, "a zone is %d µJ off every step of the truth", v.Apart)
	} else {
		check(v.Conservation == 0, "a scrape is %d µJ off every step of the truth", v.Conservation)
	}
	check(v.Errors >= b.Errors, "%d errors were counted, at least %d expected", v.Errors, b.Errors)
	check(v.Identity == 0, "Σ consumers differs from Σ zones by %d µJ", v.Identity)
	check(v.Ledger == 0, "the ledger admits an error of %v J", v.Ledger)
	check(v.Lost == 0, "a zone is off by %d µJ at the end", v.Lost)
	check(v.Strangers == 0, "%d µJ were charged to machines that do not exist", v.Strangers)
	check(v.Sleeper <= int64(v.Windows+100)*sleeperPerWindow, "a machine that did nothing was charged %d µJ", v.Sleeper)
	check(v.Tree == 0, "a guest's counter differs from its series by %d µJ", v.Tree)
	if b.VM >= 0 {
		check(worst(v.VM) <= b.VM, "a machine's energy is wrong by %.2f %%", 100*worst(v.VM))
		check(worst(v.VMCPU) <= b.VM, "a machine's CPU time is wrong by %.2f %%", 100*worst(v.VMCPU))
	}
	if b.Processes >= 0 {
		check(v.Processes <= b.Processes, "the energy of all processes is wrong by %.2f %%", 100*v.Processes)
	}
	if b.Unseen >= 0 {
		check(v.Unseen <= b.Unseen, "unseen energy is wrong by %.2f %% of all energy", 100*v.Unseen)
		check(v.Idle <= b.Unseen, "idle energy is wrong by %.2f %% of all energy", 100*v.Idle)
	}
	if b.Shift >= 0 {
		check(Quantile(v.Shift, 0.5) <= b.Shift, "in the median window %.1f %% of the energy went to the wrong account", 100*Quantile(v.Shift, 0.5))
	}
	check(len(v.Decreases) == 0, "%d counters fell, the first: %s", len(v.Decreases), first(v.Decreases))
	return broken
}

func worst(all []float64) float64 { return Quantile(all, 1) }

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// Quantile gives the value below or at which the part q of all lies; 0 of none.
func Quantile(all []float64, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
