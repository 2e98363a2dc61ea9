// Package meter holds the tick: it reads its sources, lets the ledger split what the zones gave, and
// publishes the result as an immutable Snapshot.
//
// Only the meter has a clock. Those who consume Snapshots (exporters, the tree) run on their own
// and can neither delay a tick nor cause one.
package meter

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
)

// A Sensor gives energy counters: those of package rapl, hwmon or estimate, or several in one.
type Sensor interface {
	Zones() []energy.Zone
	Read(dst []energy.Reading) // one per zone, in the order of Zones
}

// A CPUSource tells which process used how much CPU time: procfs, or BPF.
type CPUSource interface {
	Name() string
	Sample(*cputime.Sample) error
	Restore(cputime.Baseline)
	// Baseline gives the readings up to which the last Sample was computed. It is valid until the next one.
	Baseline() cputime.Baseline
}

// A VMSource tells which processes are virtual machines. Its methods never block, but for Notice.
type VMSource interface {
	Current() *vmmap.Map
	Faults() uint64    // what it could not read or understand, since it was made
	Conflicts() uint64 // claims to what is another VM's that were refused, since it was made
	// Restore tells what an earlier run knew, before the first tick.
	Restore(vms []vmmap.VM, past []vmmap.Past)
	// Notice tells that processes are new, execute another program, or have ended, at every tick. It
	// waits a few milliseconds at most, in which Current may come to know them.
	Notice([]proc.ID)
}

// A Clock tells the time. Tests have their own.
type Clock interface {
	// Now is the wall clock.
	Now() time.Time
	// Boot is the time since the machine booted, suspended time included (CLOCK_BOOTTIME).
	Boot() time.Duration
	// Asleep is how long of Boot the machine was suspended.
	Asleep() time.Duration
}

// A Store keeps the state between runs. See State.
type Store interface {
	Save([]byte) error
}

// A Fault is a counter of what a component could not read, since it was made.
type Fault struct {
	Component string
	Count     func() uint64
}

// Options of a Meter. Sensor, CPU, DomainOf, Interval and Clock are required.
type Options struct {
	Sensor   Sensor
	CPU      CPUSource
	VMs      VMSource              // nil: there are none (in a guest)
	DomainOf func(energy.Zone) int // the CPU domain that a zone covers, or ledger.AllDomains
	CPUs     int                   // number of CPUs of the machine
	MaxPower func(energy.Kind) energy.Watts
	Exe      func(pid int32) string // the executable of a process, "" where unknown; must not block
	Shown    func(string) string    // a name from outside as the labels of series show it; nil: as it is

	Interval  time.Duration
	Psys      bool                    // attribute psys instead of package and dram
	Idle      ledger.Policy           // who gets the idle floor's energy
	IdleWatts map[string]energy.Watts // configured floors, by zone path or name
	Listed    int                     // how many processes have a series of their own
	// ScrapeInterval is the longest interval at which counters are read by those who rate them.
	ScrapeInterval time.Duration
	BootID         string   // of this boot, see State
	State          Store    // nil: nothing is kept
	Ahead          Reserver // nil: nothing survives a power cut
	// Faults are counted by those who read beside the tick, each under a component of its own.
	Faults []Fault
	// Succeeds says that the Snapshots of a predecessor in this process are shown until there is one of this meter.
	Succeeds bool
	Clock    Clock
	Log      *slog.Logger
}

// A Meter ticks. Make one with New.
type Meter struct {
	Options
	zones      []*zone // that the ledger splits
	unsplit    []*zone // that nothing splits
	ledger     *ledger.Ledger
	readings   []energy.Reading
	sample     cputime.Sample
	processes  map[proc.ID]*process
	accounts   []*process // the same, to walk over
	ended      []*process // exited in this tick; closed after the settlement
	listed     []*process // have a place on the list, and a series
	series     []*series  // of processes listed, and for a while of those that were; by label
	machines   machines
	rest       []row      // what each zone gave the processes that do not count in a series
	row        []row      // scratch
	candidates []*process // scratch
	showed     int        // processes in the last Snapshot
	errors     []snapshot.ErrorCount
	duration   snapshot.Histogram
	lateness   snapshot.Histogram
	seq        uint64
	generation uint64             // of the saved state
	created    time.Time          // of the state
	exposed    time.Duration      // for how long Snapshots could be seen, see expose
	tickedAt   time.Duration      // on Clock.Boot
	published  bool               // the last tick's Snapshot was
	waiting    *snapshot.Snapshot // the last tick's, for the disk
	reserve    reserve
	scratch    []byte                        // the encoded state
	unsaved    bool                          // the last state could not be saved
	lossy      bool                          // it was told that ends of processes are lost
	shifts     []snapshot.HostSource         // what the host showed under another basis, less what its zones of this one held then
	meters     map[string]energy.Microjoules // the same of the meters of VMs, by UUID
	restored   bool                          // some accounts are of an earlier run, and no Sample was taken yet

	mu     sync.Mutex
	latest atomic.Pointer[snapshot.Snapshot]
	next   chan struct{} // guarded by mu; closed when latest changes
}

// ErrNothingToMeasure says that the sensor has no zone of the basis.
var ErrNothingToMeasure = errors.New("the sensor has no zone that could be attributed")

// New makes a meter that goes on from the first of the states (what a Store kept of an earlier run) that can be
// used. One that is damaged is logged and counted; without any, the meter starts anew.
func New(o Options, states ...[]byte) (*Meter, error) {
	m := &Meter{Options: o, next: make(chan struct{}), processes: make(map[proc.ID]*process)}
	zones := o.Sensor.Zones()
	for i, z := range zones {
		m.addZone(m.newZone(z, i))
	}
	if m.basis() == 0 {
		return nil, ErrNothingToMeasure
	}
	m.readings = make([]energy.Reading, len(zones))
	saved := m.decode(states)
	m.addGhosts(saved)
	domains := make([]int, len(m.zones))
	for i, z := range m.zones {
		z.index, z.created = i, o.Clock.Now()
		if domains[i] = o.DomainOf(z.Zone); z.Kind == energy.Psys {
			domains[i] = ledger.AllDomains
		}
		z.domains = []int{domains[i]}
	}
	m.ledger = ledger.New(o.Idle, domains, o.CPUs)
	m.findFirsts()
	m.machines = newMachines()
	for s := range m.reserve.fixed {
		m.reserve.fixed[s] = m.newCeilings()
	}
	m.row = make([]row, len(m.zones))
	m.created = o.Clock.Now()
	m.restore(saved)
	m.sumRest()
	return m, nil
}

// Latest gives the last Snapshot, nil before the first tick.
func (m *Meter) Latest() *snapshot.Snapshot { return m.latest.Load() }

// Next waits for a Snapshot with a Seq above after, and gives the latest; nil when ctx is done.
func (m *Meter) Next(ctx context.Context, after uint64) *snapshot.Snapshot {
	for {
		m.mu.Lock()
		next := m.next
		m.mu.Unlock()
		if s := m.latest.Load(); s != nil && s.Seq > after {
			return s
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *Meter) publish(s *snapshot.Snapshot) {
	m.latest.Store(s)
	m.mu.Lock()
	close(m.next)
	m.next = make(chan struct{})
	m.mu.Unlock()
}

// Run ticks at every interval until ctx is done: at once, and then on the monotonic clock, without drift. A tick
// that comes too late to be the last one's successor is left out; the next one covers its time.
func (m *Meter) Run(ctx context.Context) error {
	m.Tick()
	start := time.Now()
	ticker := time.NewTicker(m.Interval)
	defer ticker.Stop()
	var reserved <-chan error
	if m.Ahead != nil {
		reserved = m.Ahead.Reserved()
	}
	for {
		select {
		case due := <-ticker.C:
			m.lateness.Observe(max(0, time.Since(due)))
			m.Tick()
		case err := <-reserved:
			m.publishLate(err)
		case <-ctx.Done():
			m.Log.Debug("meter stopped", "ticks", m.seq, "ran", time.Since(start).Round(time.Second))
			return nil
		}
	}
}
