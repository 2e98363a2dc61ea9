package machine

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// A law is the power of one zone: a floor that is drawn always, and for each second of CPU time an
// energy that depends on the class of the work. The product knows none of it.
type law struct {
	floor float64   // W
	cost  []float64 // J per second of CPU time, by class of work
}

// noise is the standard deviation of a step's energy around the law, as a ratio.
const noise = 0.03

// A use is the CPU time of one account on one package in one step, in s, by class of work.
type use map[string]*[classes]float64

func (u use) add(account string, class int, seconds float64) {
	c := u[account]
	if c == nil {
		c = new([classes]float64)
		u[account] = c
	}
	c[class] += seconds
}

// accounts gives all accounts in order, so that sums do not depend on chance.
func (u use) accounts() []string { return slices.Sorted(maps.Keys(u)) }

// An entry is what one account has cost.
type entry struct {
	account string
	joules  float64
}

// joules gives each account what its work has really cost over a step, and its part of the floor by CPU
// time. Where nobody ran, the floor is the account idle's.
func (l law) joules(u use, seconds float64, random *rand.Rand) []entry {
	factor := 1 + noise*random.NormFloat64()
	var all float64
	for _, account := range u.accounts() {
		for _, s := range u[account] {
			all += s
		}
	}
	if all == 0 {
		return []entry{{Idle, l.floor * seconds * factor}}
	}
	var entries []entry
	for _, account := range u.accounts() {
		e := entry{account: account}
		for class, s := range u[account] {
			e.joules += (l.cost[class]*s + l.floor*seconds*s/all) * factor
		}
		entries = append(entries, e)
	}
	return entries
}

// laws of the three zones of a package, scaled by power. A homogeneous machine has one cost for all classes.
func laws(power float64, homogeneous bool) (pkg, core, dram law) {
	scaled := func(floor float64, cost ...float64) law {
		l := law{floor: floor * power}
		for _, c := range cost {
			if homogeneous {
				c = cost[0]
			}
			l.cost = append(l.cost, c*power)
		}
		return l
	}
	return scaled(15, 20, 28), scaled(4, 16, 24), scaled(3, 3, 1.5)
}
