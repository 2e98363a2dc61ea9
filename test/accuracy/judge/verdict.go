package judge

import (
	"maps"
	"math"
	"slices"
)

// A Verdict is what one run showed. Ratios are of the truth where nothing else is said.
type Verdict struct {
	Scrapes      int
	Windows      int       // distinct steps that were seen
	Conservation int64     // µJ: worst difference between the zones of a scrape and any step of the truth
	Apart        int64     // µJ: the same of each zone by itself, if the zones of a scrape may stand at different steps
	Errors       int       // that the meter itself has counted
	Identity     int64     // µJ: worst difference between Σ consumers and Σ zones in a scrape
	Ledger       float64   // J: worst error that the meter itself admits
	Lost         int64     // µJ: the truth at the end less the zones of the last scrape
	Wraps        int       // of all counters, over the run
	VM           []float64 // |charged − true| / true of each virtual machine, over the run
	VMCPU        []float64 // the same of CPU time
	Sleeper      int64     // µJ: the most that a machine which did nothing was charged
	Processes    float64   // |charged − true| / true
	Unseen       float64   // |charged − true| / true of all energy
	UnseenShare  float64   // true / true of all energy
	Idle         float64   // |charged − true| / true of all energy; what is unreserved counts as idle
	Strangers    int64     // µJ charged to machines that do not exist
	Shift        []float64 // of each window: energy charged to the wrong account / all energy of the window
	Decreases    []string
	TreeReads    int   // of the guests' counters
	TreeAway     int   // reads that failed, as nobody served them
	Tree         int64 // µJ: the worst difference between a guest's counter and its series at the end
}

func (j *Judge) verdict(truth []moment) Verdict {
	v := Verdict{Scrapes: len(j.scrapes), Decreases: j.decreases}
	end := truth[len(truth)-1]
	v.Wraps = end.Wraps - truth[0].Wraps
	at := 0 // the step of the last scrape
	var former *scrape
	for i := range j.scrapes {
		s := &j.scrapes[i]
		v.Ledger = max(v.Ledger, math.Abs(s.ledger))
		v.Identity = max(v.Identity, abs(s.basis-s.sum()))
		step, off := match(truth, s, at)
		v.Conservation = max(v.Conservation, off)
		if off > 0 {
			v.Apart = max(v.Apart, apart(truth, s))
		}
		if off == 0 && (former == nil || step > at) {
			v.Windows++
			if former != nil {
				v.Shift = append(v.Shift, shift(truth[at], truth[step], former, s))
			}
			at, former = step, s
		}
	}
	last := &j.scrapes[len(j.scrapes)-1]
	v.Errors = int(last.errors)
	v.atEnd(last, truth[0], end)
	if j.tree != nil {
		v.atTree(j.tree, last)
	}
	return v
}

// sum is what the scrape charges to anybody.
func (s *scrape) sum() (sum int64) {
	for _, uj := range s.accounts {
		sum += uj
	}
	return sum
}

// match finds the step that a scrape shows, not before step at; off is by how much the nearest one differs.
func match(truth []moment, s *scrape, at int) (step int, off int64) {
	off = math.MaxInt64
	for i := at; i < len(truth); i++ {
		if d := difference(truth[i], s); d < off {
			step, off = i, d
		}
	}
	return step, off
}

func difference(m moment, s *scrape) (worst int64) {
	for id, uj := range m.Zones {
		got, ok := s.zones[id]
		if !ok {
			got = 0
		}
		worst = max(worst, abs(uj-got))
	}
	return worst
}

// apart is by how much the zone that is worst differs from the step that is nearest to it.
func apart(truth []moment, s *scrape) (worst int64) {
	for id, uj := range s.zones {
		off := int64(math.MaxInt64)
		for _, m := range truth {
			off = min(off, abs(m.Zones[id]-uj))
		}
		worst = max(worst, off)
	}
	return worst
}

// shift tells which part of a window's energy went to the wrong account.
func shift(from, to moment, former, s *scrape) float64 {
	var wrong, all float64
	for _, account := range union(to.Accounts, s.accounts) {
		is := to.Accounts[account] - from.Accounts[account]
		charged := float64(s.accounts[account] - former.accounts[account])
		wrong += math.Abs(charged-is) / 2 // what one has too much another has too little
		all += is
	}
	return wrong / all
}

func union(a map[string]float64, b map[string]int64) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}

// atEnd judges the totals of the run by its last scrape.
func (v *Verdict) atEnd(s *scrape, begin, end moment) {
	for id, uj := range end.Zones {
		v.Lost = max(v.Lost, abs(uj-s.zones[id]))
	}
	is := make(map[string]float64, len(end.Accounts))
	var all float64
	for account, uj := range end.Accounts {
		is[account] = uj - begin.Accounts[account]
		all += is[account]
	}
	for _, account := range union(is, s.accounts) {
		charged := float64(s.accounts[account])
		switch account {
		case processes:
			v.Processes = math.Abs(charged-is[account]) / is[account]
		case unseen:
			v.Unseen, v.UnseenShare = math.Abs(charged-is[account])/all, is[account]/all
		case idle:
			v.Idle = math.Abs(charged+float64(s.accounts["unreserved"])-is[account]) / all
		case "unreserved":
		default:
			v.machine(s, account, charged, is[account], end.CPU[account]-begin.CPU[account])
		}
	}
}

// machine judges one virtual machine.
func (v *Verdict) machine(s *scrape, uuid string, charged, is, seconds float64) {
	switch {
	case is > 0:
		v.VM = append(v.VM, math.Abs(charged-is)/is)
		v.VMCPU = append(v.VMCPU, math.Abs(s.cpu[uuid]-seconds)/seconds)
	case seconds == 0 && s.known(uuid):
		v.Sleeper = max(v.Sleeper, int64(charged))
	default:
		v.Strangers += int64(charged)
	}
}

// known tells whether the scrape tells the CPU time of a machine: it has one, however little it uses.
func (s *scrape) known(uuid string) bool {
	_, ok := s.cpu[uuid]
	return ok
}

func abs(x int64) int64 { return max(x, -x) }
