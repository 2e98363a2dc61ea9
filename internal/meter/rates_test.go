package meter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
)

// A scraper adds up by how much counters grow from one scrape to the next, as Prometheus does: the value after a
// reset counts as a whole, and so does the first value of a series that was 0 at its creation, after the last scrape.
type scraper struct {
	every    time.Duration
	at       time.Duration // of the next scrape, on world.boot
	started  bool
	scraped  time.Time // the last one
	last     map[string]energy.Microjoules
	parts    energy.Microjoules // what VMs, processes and unattributed grew by
	zones    energy.Microjoules
	unborn   energy.Microjoules // of parts, what a scraper that does not know creation times misses
	fastest  float64            // the greatest growth of a series, beside that of the zones in the same time
	problems []string
}

func newScraper(every time.Duration) *scraper {
	return &scraper{every: every, last: map[string]energy.Microjoules{}}
}

// see scrapes when it is time.
func (p *scraper) see(boot time.Duration, s *snapshot.Snapshot) {
	if boot < p.at {
		return
	}
	p.at = boot + p.every
	p.scrape(s)
}

func (p *scraper) scrape(s *snapshot.Snapshot) {
	var parts, zones, most energy.Microjoules
	now := map[string]bool{}
	grow := func(name string, value energy.Microjoules, created time.Time) energy.Microjoules {
		if now[name] {
			p.problems = append(p.problems, fmt.Sprintf("tick %d: %s twice", s.Seq, name))
		}
		now[name] = true
		before, known := p.last[name]
		p.last[name] = value
		switch {
		case !p.started:
			return 0
		case known && value >= before:
			return value - before
		case known: // a reset
			return value
		case created.IsZero() || created.Before(p.scraped):
			if value > 0 {
				p.problems = append(p.problems, fmt.Sprintf("tick %d: %s appears with %v, created %v before the last scrape",
					s.Seq, name, value, p.scraped.Sub(created)))
			}
			return 0
		default:
			p.unborn += value
			return value
		}
	}
	part := func(name string, value energy.Microjoules, created time.Time) {
		grown := grow(name, value, created)
		parts += grown
		most = max(most, grown)
	}
	of := func(e *snapshot.Energies) energy.Microjoules { return e.Of(energy.Package) + e.Of(energy.DRAM) }
	for _, z := range s.Zones {
		if z.Attributed {
			zones += grow("zone "+z.Path, z.Total, z.Created)
		}
	}
	for i := range s.VMs {
		part("vm "+s.VMs[i].UUID+s.VMs[i].Name, of(&s.VMs[i].Energy), s.VMs[i].Created)
	}
	for i := range s.FormerVMs {
		part("vm "+s.FormerVMs[i].UUID+s.FormerVMs[i].Name, of(&s.FormerVMs[i].Energy), s.FormerVMs[i].Created)
	}
	for _, v := range s.Series {
		part(fmt.Sprint("process ", v.PID, v.Comm, v.Exe), v.Energy, v.Created)
	}
	for _, u := range s.Unattributed {
		part("unattributed "+u.Kind.String()+u.Reason, u.Energy, s.Created)
	}
	part("rest", of(&s.Rest), s.Created)
	if p.started && zones > 0 {
		p.fastest = max(p.fastest, float64(most)/float64(zones))
	}
	p.parts, p.zones = p.parts+parts, p.zones+zones
	p.started, p.scraped = true, s.Time
}

func (p *scraper) ratio() float64 { return float64(p.parts) / float64(p.zones) }

// churn is a machine with processes that live for 0.02, 1, 12 and 100 s, and VMs that start, stop, vanish, return and
// are renamed. One step is one second.
type churn struct {
	*world
	rng   *rand.Rand
	next  int32
	until map[proc.ID]int // the second at which a process ends
	vms   map[string]vmmap.VM
	ghost map[string]bool // VMs that nobody knows for now
	tick  int
}

func newChurn(seed uint64) *churn {
	return &churn{
		world: newWorld(), rng: rand.New(rand.NewPCG(seed, 7)), next: 1000,
		until: map[proc.ID]int{}, vms: map[string]vmmap.VM{}, ghost: map[string]bool{},
	}
}

func (c *churn) spawn(comm string, seconds int) proc.ID {
	c.next++
	id := proc.ID{PID: 100 + c.next%300, Start: uint64(c.next)} // process ids are used again soon
	if c.totals[id] > 0 {
		return id
	}
	c.totals[id], c.comms[id], c.until[id] = 0, comm, c.tick+seconds
	return id
}

// second lets a second pass.
func (c *churn) second() {
	c.tick++
	used := map[proc.ID]time.Duration{}
	for len(c.until) < 40 {
		switch c.rng.IntN(3) {
		case 0:
			c.spawn("one", 1)
		case 1:
			c.spawn("twelve", 12)
		default:
			c.spawn("hundred", 100)
		}
	}
	for range 20 { // over within the tick
		id := c.spawn("moment", 0)
		used[id] = 20 * time.Millisecond
		c.world.end(id)
	}
	for id, end := range c.until {
		if c.comms[id] != "moment" && c.rng.IntN(4) > 0 {
			used[id] = time.Duration(c.rng.Int64N(int64(200 * time.Millisecond)))
		}
		if end <= c.tick {
			c.world.end(id)
			delete(c.until, id)
		}
	}
	c.moveVMs(used)
	c.pass(time.Second, []energy.Watts{energy.Watts(30 + c.rng.IntN(60)), 10, energy.Watts(3 + c.rng.IntN(4))}, used)
}

func (c *churn) moveVMs(used map[proc.ID]time.Duration) {
	const all = 8
	if c.tick%5 == 0 {
		uuid := fmt.Sprintf("aaaaaaaa-0000-0000-0000-%012d", c.rng.IntN(all))
		vm, defined := c.vms[uuid]
		id := proc.ID{PID: vm.Process.PID, Start: vm.Process.Start}
		switch event := c.rng.IntN(6); {
		case !defined, event == 0 && vm.State == vmmap.Shutoff: // start
			c.next++
			vm = vmmap.VM{UUID: uuid, Name: "vm-" + uuid[len(uuid)-1:], VCPUs: 2, State: vmmap.Running, Source: vmmap.FromLibvirt}
			vm.Process = proc.ID{PID: 5000 + c.next, Start: uint64(c.next)}
			c.totals[proc.ID{PID: vm.Process.PID, Start: vm.Process.Start}] = 0
			c.vms[uuid] = vm
		case event == 1 && vm.State == vmmap.Running: // stop
			c.world.end(id)
			vm.State, vm.Process = vmmap.Shutoff, proc.ID{}
			c.vms[uuid] = vm
		case event == 2: // vanish
			if vm.State == vmmap.Running {
				c.world.end(id)
			}
			delete(c.vms, uuid)
		case event == 3: // another name
			vm.Name += "x"
			c.vms[uuid] = vm
		case event == 4: // nobody knows it for a while
			c.ghost[uuid] = !c.ghost[uuid]
		}
		var list []vmmap.VM
		for uuid, vm := range c.vms {
			if !c.ghost[uuid] {
				list = append(list, vm)
			}
		}
		c.world.vms = vmmap.NewMap(list, "")
	}
	for _, vm := range c.vms {
		if vm.State == vmmap.Running && c.rng.IntN(3) > 0 {
			used[proc.ID{PID: vm.Process.PID, Start: vm.Process.Start}] = time.Duration(c.rng.Int64N(int64(time.Second)))
		}
	}
}

// Invariant 9: an hour of churn, restarts and losses of power, scraped at 2 s, 15 s and 60 s. What the parts grew
// by is what the zones grew by, for each scraper.
func TestIncreasesAddUp(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := newChurn(seed)
			options := func() *Meter {
				m := c.start(t)
				m.Options.ScrapeInterval, m.Options.Listed = time.Minute, 10
				return m
			}
			m := options()
			scrapers := []*scraper{newScraper(time.Second), newScraper(2 * time.Second), newScraper(15 * time.Second), newScraper(time.Minute)}
			seen := watcher{}
			for second := range 3600 {
				c.second()
				switch {
				case second%900 == 450: // killed between two ticks; a while later it starts
					for range 7 {
						c.second()
					}
					m = options()
				case second%900 == 800: // the power failed: only what was on the disk is there
					c.kept, c.bootID = nil, fmt.Sprint("boot ", second)
					m = options()
				case second == 1900: // the machine sleeps
					c.boot += time.Hour
					c.wall = c.wall.Add(time.Hour)
				}
				m.Tick()
				s := m.Latest()
				identity(t, s)
				seen.see(t, s)
				for _, p := range scrapers {
					p.see(c.boot, s)
				}
				if t.Failed() {
					t.FailNow()
				}
			}
			retired := m.Latest().Retired
			if retired.Processes.Of(energy.Package) == 0 || retired.VMs.Of(energy.Package) == 0 {
				t.Error("nothing was retired: the run shows nothing")
			}
			for _, p := range scrapers {
				t.Logf("every %v: parts %v, zones %v, ratio %.9f, fastest series %.3f of the zones, %.4f unborn", p.every, p.parts, p.zones,
					p.ratio(), p.fastest, float64(p.unborn)/float64(p.zones))
				if math.Abs(p.ratio()-1) > 1e-9 || p.fastest > 1 {
					t.Errorf("every %v: parts grew by %v, zones by %v; a series by %.3f of the zones", p.every, p.parts, p.zones, p.fastest)
				}
				for i, problem := range p.problems {
					if i < 5 {
						t.Errorf("every %v: %s", p.every, problem)
					}
				}
			}
		})
	}
}
