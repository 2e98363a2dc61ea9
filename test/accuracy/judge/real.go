package judge

import (
	"fmt"
	"math"
)

// A Real is a run on the machine itself, whose truth is the clocks of a load.
type Real struct {
	Before, After string // scrapes, with nothing of the load running around them

	Machines map[string]float64 // CPU time that each virtual machine used in between, s, by UUID
	Busy     float64            // CPU time that the machine's CPUs were busy
	Zones    map[string]int64   // energy of each zone since the meter's start, µJ, at After
}

// A RealVerdict is what such a run showed.
type RealVerdict struct {
	VMCPU        []float64 // |told − true| / true
	Share        []float64 // |part of the energy / part of the CPU time − 1| of each virtual machine
	Unseen       float64   // CPU time that went to unseen, at the machines' price of a second, s
	Ended        float64   // CPU time that went to processes that ended, likewise
	Price        float64   // the machines' energy for a second / the whole machine's, less 1
	Conservation int64     // µJ: worst difference of Σ consumers and Σ zones, and of a zone and its truth
	Ledger       float64
}

// Judge gives the verdict.
func (r Real) Judge() (RealVerdict, error) {
	j := New()
	for _, text := range []string{r.Before, r.After} {
		if err := j.Scrape(text); err != nil {
			return RealVerdict{}, err
		}
	}
	if len(j.scrapes) != 2 {
		return RealVerdict{}, fmt.Errorf("a scrape without zones")
	}
	from, to := &j.scrapes[0], &j.scrapes[1]
	v := RealVerdict{Ledger: math.Abs(to.ledger)}
	v.Conservation = max(abs(from.basis-from.sum()), abs(to.basis-to.sum()))
	for id, uj := range r.Zones {
		v.Conservation = max(v.Conservation, abs(uj-to.zones[id]))
	}
	gained := func(account string) float64 { return float64(to.accounts[account] - from.accounts[account]) }
	all := float64(to.basis - from.basis)
	var used, charged float64
	for uuid, seconds := range r.Machines {
		used += seconds
		charged += gained(uuid)
	}
	price := charged / used
	v.Unseen = gained(unseen) / price
	v.Ended = float64(to.rest-from.rest) / price
	v.Price = price/(all/r.Busy) - 1
	for uuid, seconds := range r.Machines {
		v.VMCPU = append(v.VMCPU, math.Abs(to.cpu[uuid]-from.cpu[uuid]-seconds)/seconds)
		v.Share = append(v.Share, math.Abs(gained(uuid)/seconds/price-1))
	}
	return v, nil
}
