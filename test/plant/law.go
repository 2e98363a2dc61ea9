package main

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// A law is the power of a zone: the floor is drawn always, the rest by each busy CPU.
type law struct {
	floor   float64 // W
	perBusy float64 // W for each CPU that is busy
}

// The floors are small beside the load's share, so that a joule's price per CPU second stays
// nearly the same at any load. The core zone is a part of its package.
func packageLaw() law { return law{floor: 3, perBusy: 12} }
func coreLaw() law    { return law{floor: 1, perBusy: 10} }
func dramLaw() law    { return law{floor: 0.7, perBusy: 2} }

// Steps in nJ of the 32-bit registers of real machines: client and server packages, server DRAM.
const (
	packageUnit = 61035
	dramUnit    = 15300
)

// A counter is one zone of the plant. Its energy starts at 0 and never wraps; what its file
// shows is (start + energy) modulo what its register holds, in whole µJ.
type counter struct {
	id    string // intel-rapl:0:0
	name  string // package-0, core, dram
	law   law
	share float64 // the part of the machine's busy time that falls to it
	unit  uint64  // nJ that a step of the register stands for
	start uint64  // µJ that the file shows at the start

	energy   uint64  // µJ counted so far
	rest     float64 // µJ below 1, carried
	lastRead uint64  // the energy that the last reader of the file saw
	at       time.Duration
	busy     time.Duration
}

// maxRange is max_energy_range_uj: what the kernel makes of the largest value of the register.
func (c *counter) maxRange() uint64 { return (1<<32 - 1) * c.unit / 1000 }

// wraps is how often the register has passed from its largest value to 0 when it has counted so much energy.
func (c *counter) wraps(energy uint64) uint64 { return (c.start + energy) * 1000 / (c.unit << 32) }

// shown is the text value of an energy.
func (c *counter) shown(energy uint64) uint64 {
	return c.start + energy - c.wraps(energy)*(c.unit<<32)/1000
}

// A plant is all counters and the machine's clocks that drive them.
type plant struct {
	mu       sync.Mutex // over all below
	counters []*counter
	noise    *rand.Rand
	frozen   bool
	now      func() time.Duration // monotonic, since any moment
	busy     func() time.Duration // CPU time of the whole machine, likewise
}

// newPlant gives a plant whose counters will each wrap after lead joules.
func newPlant(packages int, lead float64, seed uint64, frozen bool) *plant {
	p := &plant{noise: rand.New(rand.NewPCG(seed, 0)), frozen: frozen, now: monotonic(), busy: machineBusy}
	for i := range packages {
		for _, z := range zonesOf(i) {
			z.share = 1 / float64(packages)
			z.start = z.maxRange() - uint64(lead*1e6*z.law.perBusy/packageLaw().perBusy)
			p.counters = append(p.counters, z)
		}
	}
	for _, c := range p.counters {
		c.at, c.busy = p.now(), p.busy()
	}
	return p
}

// advance brings a counter to the present. The caller holds the lock.
func (p *plant) advance(c *counter) {
	at, busy := p.now(), p.busy()
	seconds, busySeconds := (at - c.at).Seconds(), max(0, (busy-c.busy).Seconds())*c.share
	c.at, c.busy = at, busy
	if p.frozen {
		return
	}
	joules := (seconds*c.law.floor*c.share + busySeconds*c.law.perBusy) * (1 + 0.02*p.noise.NormFloat64())
	c.rest += max(0, joules*1e6)
	whole := uint64(c.rest)
	c.energy += whole
	c.rest -= float64(whole)
}

// read gives what a reader of the counter's file sees now.
func (p *plant) read(c *counter) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(c)
	c.lastRead = c.energy
	return c.shown(c.energy)
}

// freeze holds or releases all counters.
func (p *plant) freeze(frozen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.counters {
		p.advance(c)
	}
	p.frozen = frozen
}

// zonesOf gives the zones of a package as client machines have them, with the server's DRAM.
func zonesOf(pkg int) []*counter {
	id := "intel-rapl:" + strconv.Itoa(pkg)
	return []*counter{
		{id: id, name: "package-" + strconv.Itoa(pkg), law: packageLaw(), unit: packageUnit},
		{id: id + ":0", name: "core", law: coreLaw(), unit: packageUnit},
		{id: id + ":1", name: "dram", law: dramLaw(), unit: dramUnit},
	}
}
