package machine

import (
	"math/rand/v2"
	"strconv"
)

// A zone is one counter. Its energy starts at 0 and never wraps; its file shows start + energy modulo wrap.
type zone struct {
	id, name string
	law      law
	packages []int // whose work it measures
	basis    bool  // it counts; core is a part of its package
	wrap     uint64
	start    uint64 // µJ that the file showed at first

	energy   uint64             // µJ
	rest     float64            // µJ below 1, carried
	accounts map[string]float64 // µJ, by account
}

// zonesOf gives the zones of a machine: of each package, its core, and its memory; or the one zone of a guest.
func zonesOf(o Options, random *rand.Rand) []*zone {
	pkg, core, dram := laws(o.Power, o.Homogeneous)
	var zones []*zone
	add := func(id, name string, l law, packages []int, wrap uint64, basis bool) {
		zones = append(zones, &zone{
			id: id, name: name, law: l, packages: packages, basis: basis, wrap: wrap,
			start: random.Uint64N(wrap), accounts: make(map[string]float64),
		})
	}
	if o.Guest {
		var all []int
		for p := range o.Packages {
			all = append(all, p)
		}
		add("intel-rapl:0", "package-0", pkg, all, o.PackageWrap, true)
		return zones
	}
	for p := range o.Packages {
		id, n := "intel-rapl:"+strconv.Itoa(p), strconv.Itoa(p)
		add(id, "package-"+n, pkg, []int{p}, o.PackageWrap, true)
		add(id+":0", "core", core, []int{p}, o.PackageWrap, false)
		add(id+":1", "dram", dram, []int{p}, o.MemoryWrap, true)
	}
	return zones
}

// draw takes the energy of one step.
func (z *zone) draw(uses []use, seconds float64, random *rand.Rand) {
	mine := use{}
	for _, p := range z.packages {
		for _, account := range uses[p].accounts() {
			for class, s := range uses[p][account] {
				mine.add(account, class, s)
			}
		}
	}
	for _, e := range z.law.joules(mine, seconds, random) {
		z.accounts[e.account] += e.joules * 1e6
		z.rest += e.joules * 1e6
	}
	whole := uint64(max(0, z.rest))
	z.energy += whole
	z.rest -= float64(whole)
}

// shown is what the file says.
func (z *zone) shown() string { return strconv.FormatUint((z.start+z.energy)%z.wrap, 10) + "\n" }
