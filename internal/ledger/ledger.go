// Package ledger splits energy between consumers, exactly.
//
// It is double-entry bookkeeping for µJ: a zone's energy comes in on one side, and leaves on the rows
// of those who used CPU time on the zone's part of the machine, or on a row that says why nobody is
// charged. Everything is counted in integers, so that at every moment, for every zone,
//
//	Σ rows == Σ what the zone gave
//
// with an error of 0 µJ. The package is pure: no I/O, no clock, no goroutine. It is not safe
// for concurrent use.
package ledger

import (
	"math"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// A Slot is the number of a row: a consumer's account, or one of the fixed rows below.
type Slot int32

// The fixed rows. The first three are what no consumer is charged for. Their order is that of the saved state.
const (
	Idle             Slot   = iota // energy while nobody ran, and the idle part where the policy gives it to nobody
	Unreserved                     // the idle part of CPUs that no VM has reserved
	Unseen                         // energy of busy time that no process explains
	Ended                          // of processes that have no account, or had one that nobody was shown
	RetiredVMs                     // of VMs whose series are not shown any more
	RetiredProcesses               // of processes whose series are not shown any more
	Rebased                        // what Add put elsewhere, taken back; it may be negative: rows are kept modulo 2^64
	FixedRows        = iota        // how many there are
)

// Policy says who gets the idle part of the energy.
type Policy string

// The policies of the configuration key attribution.idle.
const (
	Shared   Policy = "shared"   // consumers, by CPU time
	Reserved Policy = "reserved" // virtual machines, by their vCPUs over the host's CPUs
	None     Policy = "none"     // nobody: it stays on the row Idle
)

// AllDomains is the domain of a zone that covers the whole machine (psys).
const AllDomains = -1

// A Machine is a running virtual machine: a consumer that has reserved CPUs, and whose counter must move
// at every settlement, because there are RAPL readers that take "no change" for a wrap.
type Machine struct {
	Slot  Slot
	VCPUs int
}

// The two parts of a row's energy.
const (
	active = iota
	idle
	parts
)

// A cell is the crossing of a row and a zone. There is one for every process that ran of late, so it is kept small.
type cell struct {
	energy [parts]uint64 // µJ, cumulative
	carry  [parts]int64  // rounding owed, 2^-32 µJ
	ran    int32         // 1 + its index in zone.run, 0 where it has no weight
	got    int32         // 1 + its index in zone.got, 0 where it gained nothing
}

// A weight is what a row used since its zone's last settlement.
type weight struct {
	slot Slot
	time uint64 // ns of CPU time
}

// A gain is what a row got in its zone's last settlement. The row may have been closed since.
type gain struct {
	slot Slot
	part [parts]uint64 // µJ
}

func (g *gain) sum() uint64 { return g.part[active] + g.part[idle] }

type zone struct {
	domains []int         // whose CPU time weighs
	total   uint64        // µJ that came in
	span    time.Duration // of the last settlement
	run     []weight
	got     []gain
}

// A Ledger holds the rows.
type Ledger struct {
	policy   Policy
	zones    []zone
	cells    []cell // row by row
	free     []Slot
	machines []Machine
	cpus     int
	shares   []share // scratch
}

// New makes a ledger for zones given by the CPU domain that each covers (or AllDomains). cpus is the
// number of CPUs of the machine; only the policy Reserved needs it.
func New(policy Policy, domains []int, cpus int) *Ledger {
	l := &Ledger{policy: policy, zones: make([]zone, len(domains)), cpus: cpus}
	for i, d := range domains {
		l.zones[i].domains = []int{d}
	}
	l.cells = make([]cell, int(FixedRows)*len(domains))
	return l
}

// Cover says that the zone covers these domains from now on. The slice is kept until the next call.
func (l *Ledger) Cover(z int, domains []int) { l.zones[z].domains = domains }

func (l *Ledger) cell(s Slot, z int) *cell { return &l.cells[int(s)*len(l.zones)+z] }

// Open gives a new account, all at 0.
func (l *Ledger) Open() Slot {
	if n := len(l.free); n > 0 {
		s := l.free[n-1]
		l.free = l.free[:n-1]
		return s
	}
	s := Slot(len(l.cells) / max(len(l.zones), 1))
	for range l.zones {
		l.cells = append(l.cells, cell{})
	}
	return s
}

// Close ends an account. What it holds, and the CPU time that has not been settled yet, moves to the
// row into (Ended or a retired one), so that nothing is lost. The slot will be used again.
func (l *Ledger) Close(s, into Slot) {
	for z := range l.zones {
		from, to := l.cell(s, z), l.cell(into, z)
		for p := range parts {
			to.energy[p] += from.energy[p]
		}
		if run := l.zones[z].run; from.ran > 0 {
			i, last := from.ran-1, len(run)-1
			unsettled := run[i].time
			run[i] = run[last]
			l.cell(run[i].slot, z).ran = i + 1
			l.zones[z].run = run[:last]
			l.weigh(into, z, unsettled)
		}
		*from = cell{}
	}
	l.free = append(l.free, s)
}

// Move takes energy of zone z from one row to another. What is not there is not moved.
func (l *Ledger) Move(from, to Slot, z int, activePart, idlePart energy.Microjoules) {
	a, b := l.cell(from, z), l.cell(to, z)
	for p, e := range [parts]energy.Microjoules{active: activePart, idle: idlePart} {
		moved := min(uint64(e), a.energy[p])
		a.energy[p] -= moved
		b.energy[p] += moved
	}
}

// SetMachines names the virtual machines that run now. The slice is kept until the next call.
func (l *Ledger) SetMachines(machines []Machine) { l.machines = machines }

// Charge puts down that the row used CPU time, in ns by domain, since the last call. It weighs in each zone
// at the zone's next settlement; until then it adds up, so a zone that cannot be read for a while
// is split by the CPU time of that whole while.
func (l *Ledger) Charge(s Slot, byDomain []uint64) {
	for z := range l.zones {
		var w uint64
		for _, d := range l.zones[z].domains {
			if d >= 0 && d < len(byDomain) {
				w += byDomain[d]
			} else if d == AllDomains {
				for _, ns := range byDomain {
					w += ns
				}
			}
		}
		if w > 0 {
			l.weigh(s, z, w)
		}
	}
}

func (l *Ledger) weigh(s Slot, z int, time uint64) {
	c, zn := l.cell(s, z), &l.zones[z]
	if c.ran == 0 {
		zn.run = append(zn.run, weight{slot: s})
		c.ran = int32(len(zn.run))
	}
	// Saturating: 2^54 ns is 208 days of one CPU; more in one settlement would only make the
	// sum of a thousand rows overflow.
	w := &zn.run[c.ran-1]
	w.time = min(w.time+time, 1<<54)
}

// Settle splits what zone z gave since its last settlement: e in all, of which idlePart (at most e)
// is the idle floor's, over the time span. The CPU time charged since then is the measure.
//
//   - The active part goes by CPU time to all that ran, Unseen included.
//   - The idle part goes where the policy says.
//   - If nobody ran, all of it is idle, and under Shared and None it stays on the row Idle.
//   - A running machine that got nothing gets 1 µJ from whoever got most.
func (l *Ledger) Settle(z int, e, idlePart energy.Microjoules, span time.Duration) {
	l.Quiet(z)
	zn := &l.zones[z]
	zn.span = span
	zn.total += uint64(e)

	i := uint64(min(idlePart, e))
	a := uint64(e) - i
	if len(zn.run) == 0 {
		a, i = 0, uint64(e)
	}
	l.split(z, active, a, l.byTime(z, active))
	switch l.policy {
	case Shared:
		l.split(z, idle, i, l.byTime(z, idle))
	case Reserved:
		l.split(z, idle, i, l.byReservation(z))
	default:
		l.split(z, idle, i, nil)
	}
	l.moveMachines(z)

	for i := range zn.run {
		l.cell(zn.run[i].slot, z).ran = 0
	}
	zn.run = zn.run[:0]
}

// Quiet ends the power of a zone's last settlement: Power is 0 until the next one.
func (l *Ledger) Quiet(z int) {
	zn := &l.zones[z]
	for i := range zn.got {
		l.cell(zn.got[i].slot, z).got = 0
	}
	zn.got = zn.got[:0]
}

// byTime lists those who ran, by CPU time.
func (l *Ledger) byTime(z, part int) []share {
	l.shares = l.shares[:0]
	for _, w := range l.zones[z].run {
		l.shares = append(l.shares, share{slot: w.slot, weight: w.time, carry: l.cell(w.slot, z).carry[part]})
	}
	return l.shares
}

// byReservation lists the machines by their vCPUs, and the CPUs that are left as Unreserved. Where more
// vCPUs are promised than there are CPUs, all of the idle part is the machines'.
func (l *Ledger) byReservation(z int) []share {
	l.shares = l.shares[:0]
	reserved := 0
	add := func(s Slot, cpus int) {
		if cpus > 0 {
			l.shares = append(l.shares, share{slot: s, weight: uint64(cpus), carry: l.cell(s, z).carry[idle]})
		}
	}
	for _, m := range l.machines {
		add(m.Slot, m.VCPUs)
		reserved += max(m.VCPUs, 0)
	}
	add(Unreserved, l.cpus-reserved)
	return l.shares
}

// split gives amount to the shares, or to the row Idle where there are none.
func (l *Ledger) split(z, part int, amount uint64, shares []share) {
	if amount == 0 {
		return
	}
	var total uint64
	for i := range shares {
		total += shares[i].weight
	}
	if total == 0 {
		l.give(Idle, z, part, amount)
		return
	}
	apportion(amount, total, shares)
	for i := range shares {
		l.cell(shares[i].slot, z).carry[part] = shares[i].carry
		l.give(shares[i].slot, z, part, shares[i].amount)
	}
}

func (l *Ledger) give(s Slot, z, part int, amount uint64) {
	if amount == 0 {
		return
	}
	c, zn := l.cell(s, z), &l.zones[z]
	c.energy[part] += amount
	if c.got == 0 {
		zn.got = append(zn.got, gain{slot: s})
		c.got = int32(len(zn.got))
	}
	zn.got[c.got-1].part[part] += amount
}

// gainOf gives what a row got in a zone's last settlement.
func (l *Ledger) gainOf(s Slot, z int) uint64 {
	if at := l.cell(s, z).got; at > 0 {
		return l.zones[z].got[at-1].sum()
	}
	return 0
}

// moveMachines sees to it that every running machine gained something in this settlement, as long as
// there is somebody who gained enough to take it from.
func (l *Ledger) moveMachines(z int) {
	got := func(i int) *gain { return &l.zones[z].got[i] }
	donor := -1
	for _, m := range l.machines {
		if l.gainOf(m.Slot, z) > 0 {
			continue
		}
		if donor < 0 || got(donor).sum() < 2 {
			if donor = l.richest(z); donor < 0 {
				return
			}
		}
		from, part := got(donor), active
		if from.part[idle] > from.part[active] {
			part = idle
		}
		l.cell(from.slot, z).energy[part]--
		from.part[part]--
		l.give(m.Slot, z, idle, 1)
	}
}

// richest finds in zone.got the row that gained most in the last settlement of a zone, at least 2 µJ; -1 for none.
func (l *Ledger) richest(z int) int {
	best, most := -1, uint64(1)
	for i := range l.zones[z].got {
		if sum := l.zones[z].got[i].sum(); sum > most {
			best, most = i, sum
		}
	}
	return best
}

// Energy gives the active and the idle part of what a row holds of a zone.
func (l *Ledger) Energy(s Slot, z int) (activePart, idlePart energy.Microjoules) {
	c := l.cell(s, z)
	return energy.Microjoules(c.energy[active]), energy.Microjoules(c.energy[idle])
}

// Power gives what a row gained at a zone's last settlement, over that settlement's span.
func (l *Ledger) Power(s Slot, z int) energy.Watts {
	return energy.Microjoules(l.gainOf(s, z)).Per(l.zones[z].span)
}

// Total gives all that a zone brought in.
func (l *Ledger) Total(z int) energy.Microjoules { return energy.Microjoules(l.zones[z].total) }

// Add puts energy on a row and on its zone's total at once: the opening balance of a row
// whose history is known from an earlier run.
func (l *Ledger) Add(s Slot, z int, activePart, idlePart energy.Microjoules) {
	c := l.cell(s, z)
	c.energy[active] += uint64(activePart)
	c.energy[idle] += uint64(idlePart)
	l.zones[z].total += uint64(activePart + idlePart)
}

// Audit adds all rows up again and gives the sum of |zone's total - Σ rows| over the zones, in µJ. It is
// 0 unless this package has a bug.
func (l *Ledger) Audit() int64 {
	var wrong uint64
	for z := range l.zones {
		var sum uint64
		for i := z; i < len(l.cells); i += len(l.zones) {
			sum += l.cells[i].energy[active] + l.cells[i].energy[idle]
		}
		diff := sum - l.zones[z].total
		wrong += min(diff, -diff)
	}
	return int64(min(wrong, math.MaxInt64))
}
