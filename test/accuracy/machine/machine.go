// Package machine is the plant and its load in one: a simulated machine whose CPU time and energy are
// known exactly, shown as a procfs and a sysfs.
//
// The machine's time goes in steps, and a step happens at once: a reader who keeps the first package's counter
// open and reads it again makes one happen, and sees the machine after it. That is how a meter begins its tick, so all that
// it reads in one tick is one state, and what it reads at the next is one step later, however late it comes. The
// truth of each step is written to a ledger, one line of JSON a step, before anybody can see it.
package machine

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// The accounts of the truth that are no virtual machine's.
const (
	Processes = "processes" // ordinary processes, as long as they can be seen
	Unseen    = "unseen"    // processes that nobody could see: they began or ended between two looks
	Idle      = "idle"      // energy of steps in which nobody ran
)

// classes is the number of classes of work: they differ in energy per CPU time.
const classes = 2

// Options of a Machine.
type Options struct {
	Seed        uint64
	Packages    int           // sockets, or for a guest virtual CPUs
	CPUs        int           // of each package
	Guest       bool          // one zone whatever the packages; no virtual machines
	Homogeneous bool          // all work costs the same
	Storm       int           // at most so many processes of 20 ms live and die in a step
	Power       float64       // scale of the law; 1 is up to 110 W a package of four CPUs
	Step        time.Duration // of the machine's time
	PackageWrap uint64        // max_energy_range_uj of packages and cores
	MemoryWrap  uint64        // max_energy_range_uj of DRAM
}

// A Machine is the state after the last step.
type Machine struct {
	Options
	mu      sync.Mutex // over all below
	held    bool
	away    bool
	looks   int // how often a reader has begun a tick
	steps   int
	now     time.Duration // since the machine's boot
	boot    string        // boot id
	random  *rand.Rand
	cpus    []cpu
	zones   []*zone
	load    *load
	cpuTime map[string]float64 // s, by account
	truth   *json.Encoder
	failed  error // the first failure to write the truth

	faultRate float64
	faults    int
	chance    *rand.Rand // of faults: their number depends on who reads, the machine's own chance must not
}

type cpu struct {
	pkg  int
	busy time.Duration
}

// uptime is how long the machine had run when the simulation began, all idle.
const uptime = 1000 * time.Second

// New makes a machine that is held: nothing happens until Release. The truth goes to w.
func New(o Options, w io.Writer) *Machine {
	random := rand.New(rand.NewPCG(o.Seed, 1))
	m := &Machine{
		Options: o, held: true, now: uptime, random: random,
		boot:    fmt.Sprintf("%08x-1111-4111-8111-%012x\n", random.Uint32(), o.Seed),
		chance:  rand.New(rand.NewPCG(o.Seed, 3)),
		cpuTime: make(map[string]float64), truth: json.NewEncoder(w),
	}
	for p := range o.Packages {
		for range o.CPUs {
			m.cpus = append(m.cpus, cpu{pkg: p})
		}
	}
	m.zones = zonesOf(o, random)
	m.load = newLoad(o, random, m.now)
	m.record()
	return m
}

// look begins a reader's tick.
func (m *Machine) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks++
	if !m.held {
		m.step()
	}
}

// Step lets n steps happen that no reader has asked for.
func (m *Machine) Step(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		m.step()
	}
}

// Hold lets nothing happen any more.
func (m *Machine) Hold() { m.hold(true) }

// Release lets a step happen at each look.
func (m *Machine) Release() { m.hold(false) }

func (m *Machine) hold(held bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = held
}

// Away says whether the meter is away. As long as it is, no process ends: the truth calls what one uses in
// its last step unseen, and that is all that escapes a meter only if it looked at the step before.
func (m *Machine) Away(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

// Progress tells how many looks and steps there were.
func (m *Machine) Progress() (looks, steps int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.looks, m.steps
}

// Err tells whether the truth could be written.
func (m *Machine) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

func (m *Machine) step() {
	m.steps++
	m.now += m.Options.Step
	uses := make([]use, m.Packages)
	for p := range uses {
		uses[p] = use{}
	}
	free := make([]time.Duration, len(m.cpus))
	for i := range free {
		free[i] = m.Options.Step
	}
	run := func(c int, want time.Duration, account string, class int) time.Duration {
		got := min(want, free[c])
		free[c] -= got
		m.cpus[c].busy += got
		uses[m.cpus[c].pkg].add(account, class, got.Seconds())
		m.cpuTime[account] += got.Seconds()
		return got
	}
	m.load.step(m, free, run)
	for _, z := range m.zones {
		z.draw(uses, m.Options.Step.Seconds(), m.random)
	}
	m.record()
}

// A line of the truth: everything since the start.
type line struct {
	Step     int                `json:"step"`
	Zones    map[string]uint64  `json:"zones_uj"` // by powercap id, never wrapped
	Wraps    uint64             `json:"wraps"`    // of all counters
	Accounts map[string]float64 `json:"accounts_uj"`
	CPU      map[string]float64 `json:"cpu_seconds"`
}

func (m *Machine) record() {
	l := line{Step: m.steps, Zones: map[string]uint64{}, Accounts: map[string]float64{}, CPU: m.cpuTime}
	for _, z := range m.zones {
		l.Zones[z.id] = z.energy
		l.Wraps += (z.start + z.energy) / z.wrap
		if z.basis {
			for account, uj := range z.accounts {
				l.Accounts[account] += uj
			}
		}
	}
	if err := m.truth.Encode(l); err != nil && m.failed == nil {
		m.failed = fmt.Errorf("write the truth: %w", err)
	}
}
