// Package snapshot holds the result of a tick: plain data between the meter, which makes it, and all that shows
// it (exporters, the tree), which never measure.
package snapshot

import (
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// A Snapshot is the whole state of the meter at one tick. It is immutable: whoever holds one may
// read it for ever, and must not write to it or to what it points to.
//
// Energies are cumulative since the state's first tick, in µJ, and never decrease or wrap.
// The identity of every Snapshot, for each of the zone kinds Package and DRAM (or Psys, where that
// is the basis):
//
//	Σ VMs + Σ FormerVMs + Σ Series + Rest + Σ Retired + Rebased + Σ Unattributed == Σ Zones
//
// and of any two, of one run or of several, for what they grew by:
//
//	Σ VMs + Σ FormerVMs + Σ Series + Rest + Σ Unattributed == Σ Zones
type Snapshot struct {
	Seq       uint64         // 1 at the first tick of this process
	Time      time.Time      // when the zones were read
	Interval  time.Duration  // between ticks, as configured
	Simulated bool           // the sensor is an estimate: no hardware counter is behind the numbers
	Basis     energy.KindSet // the kinds of zone that count, as far as there are zones of them

	CPUSource string // "bpf" or "procfs"
	VMSource  string // which rung of the ladder tells virtual machines, for people; "" without VMs
	Conflicts uint64 // claims to what is another VM's that were refused, since the process started

	Zones []Zone // in the sensor's order; those that are shown but not attributed too, and what nothing splits last
	Host  Host

	Created time.Time // of the state: when the counters that are always there were 0; zero where unknown

	VMs       []VM            // by UUID; defined ones that never ran too, and for a while those that are gone
	FormerVMs []FormerVM      // by UUID and name; for a while, what VMs were charged under another name
	Processes []Process       // those that used power at the last settlement, and all that are listed
	Series    []ProcessSeries // of processes, by process id, comm and exe
	Rest      Energies        // of all processes while they have no series, those that ended included
	RestPower energy.Watts
	Retired   Retired

	// Rebased is by how much processes show less than the zones of the basis gave for them, in µJ by kind: they go on
	// from what they showed under another basis, which may be more or less.
	Rebased [energy.Kinds]int64

	Unattributed []Unattributed

	LedgerError int64 // µJ by which the ledger's rows differ from the zones; 0, or there is a bug

	Errors   []ErrorCount // since the process started, by component
	Duration Histogram    // of the ticks, in seconds
	Lateness Histogram    // of the ticks against the clock, in seconds
}

// A Part of a consumer's energy: what its own activity costs, or its part of the idle floor.
type Part uint8

// The parts.
const (
	Active Part = iota
	Idle
	Parts = iota
)

// String gives the part as it stands in the label part="…".
func (p Part) String() string {
	if p == Active {
		return "active"
	}
	return "idle"
}

// Energies of one consumer by kind of zone and part, summed over the host's packages.
type Energies [energy.Kinds][Parts]energy.Microjoules

// Of gives both parts of one kind.
func (e *Energies) Of(k energy.Kind) energy.Microjoules { return e[k][Active] + e[k][Idle] }

// A Zone is one counter of the sensor.
type Zone struct {
	energy.Zone
	Total       energy.Microjoules // since Created
	Bound       energy.Microjoules // by how much Total may be off, where the counter is integrated from readings of power
	Created     time.Time          // the first tick that knew the zone; zero where unknown
	Power       energy.Watts       // over the span between its last two movements
	Attributed  bool               // its energy is part of the identity (package, dram; or psys)
	Failed      bool               // the last read failed, or there was none
	Frozen      bool               // it has not moved for clearly longer than it usually does
	Missing     bool               // an earlier run had it, this one's sensor has not
	Mirrors     string             // Path of the zone whose counter it shows again, which counts for both; "" for none
	WrapSeconds float64            // time to wrap around at the current power; 0 where unknown
	Uncertain   uint64             // gaps that may hide a wrap, counted
	Resets      uint64             // times the counter jumped back other than by a wrap
}

// Retired is what series held that are not shown any more. It falls when the series of a VM is shown again.
type Retired struct {
	VMs, Processes Energies
}

// Host is the machine as a whole: Σ packages + Σ dram, or psys where that is the basis.
type Host struct {
	Energy  energy.Microjoules
	Power   energy.Watts
	Source  string       // of the sensor's zones: energy.SourcePowercap or energy.SourceEstimate
	Sources []HostSource // the same by source, those of earlier runs included
}

// A HostSource is what one source gave to the host.
type HostSource struct {
	Source  string
	Energy  energy.Microjoules
	Power   energy.Watts
	Created time.Time // of the first of its zones
	Live    bool      // the sensor has zones of it; one of an earlier run has no power, not a power of 0
}

// A VM is a virtual machine's meter. Strings come from outside and are not escaped.
type VM struct {
	UUID, Name, Title     string
	State                 string // running, paused, shutoff
	Present               bool   // false for one that is gone: only its series are still there
	Source                string // libvirt, runtime, argv
	Project, User, Flavor string // owner, "" where unknown
	Share                 string // how its meter is shared with it: virtiofs, 9p, no; "" where unknown
	Publish               string // profile that the machine's own definition asks for, "" if none; not validated
	VCPUs                 int
	PID                   int32 // of its qemu, 0 when shut off
	Energy                Energies
	Before                Energies      // charged under other names; its own meter (the tree) shows the sum
	CPU                   time.Duration // cumulative, helpers included
	Power                 energy.Watts  // both parts, basis zones
	Created               time.Time     // when Energy and CPU were 0; zero where unknown
}

// A FormerVM is what a VM was charged under a name that it has no more.
type FormerVM struct {
	UUID, Name string
	Energy     Energies
	CPU        time.Duration
	Created    time.Time
}

// A Process is one process that is not part of a virtual machine.
type Process struct {
	PID    int32
	Start  uint64 // clock ticks since boot
	Comm   string
	Exe    string // target of /proc/PID/exe, "" where unknown; known for listed ones only
	Kernel bool
	CPU    time.Duration // since it started
	Power  energy.Watts
	// Listed says that the process is among the top N which have a series of their own. Energy is what
	// that series shows, 0 until it counts: until then, the process is part of Rest as the others are.
	Listed bool
	Energy energy.Microjoules
}

// A ProcessSeries is what is shown of a process under a name: since it was listed, and for a while after it ended.
type ProcessSeries struct {
	PID       int32
	Comm, Exe string             // as Options.Shown returned them
	Energy    energy.Microjoules // of the zones that count
	Created   time.Time
}

// Unattributed is energy that no consumer is charged for, and why.
type Unattributed struct {
	Kind   energy.Kind
	Reason string // idle, unreserved, unseen
	Energy energy.Microjoules
}

// ErrorCount counts what went wrong in one component.
type ErrorCount struct {
	Component string
	Count     uint64
}

// DurationBounds are the upper bounds of the buckets of a Histogram, in seconds.
var DurationBounds = [...]float64{1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5}

// A Histogram counts durations; a value, so that a Snapshot can hold a copy.
type Histogram struct {
	Counts [len(DurationBounds)]uint64 // observations at most as long as the bound of the same index, not cumulative
	Count  uint64                      // all observations
	Sum    float64                     // in seconds
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	s := d.Seconds()
	h.Count++
	h.Sum += s
	for i, bound := range DurationBounds {
		if s <= bound {
			h.Counts[i]++
			return
		}
	}
}
