package vfs

import (
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// A Policy bounds what a VM learns of its own consumption, and when.
type Policy struct {
	Interval time.Duration      // at least so long between two publishes
	Jitter   time.Duration      // and up to so much longer, drawn anew each time
	Quantum  energy.Microjoules // counters move by multiples of this; at least 1 µJ
	Off      bool               // show nothing at all
}

// A Reading is what the ledger holds of one VM.
type Reading struct {
	UUID    string
	Name    string
	Running bool
	Energy  [energy.Kinds]energy.Microjoules // cumulative, active + idle, never decreasing
	Policy  Policy
}

// A Publisher turns ledger counters into published ones. It has no clock of its own.
//
// Published is base + (ledger - base) rounded down to the quantum, where base is the ledger's value when this
// process first saw the VM. What is rounded off stays in the ledger and comes with a later publish, so the long
// run is exact. If that would leave the counter of a running VM where it was although the ledger moved, it
// moves by 1 µJ all the same, since some readers take a counter that stands still for one that wrapped.
//
// Published never exceeds the ledger: rounding is down, and a step of 1 µJ is taken only when the ledger moved
// by as much or more since the publish before, at which it was no less than what was published. From this
// follows that a restart never decreases a counter: the ledger's state is written before the values that it
// covers are published, so the base of the next process, which is the ledger's restored value, is not below
// anything that was ever shown. A base has the ledger's full resolution: a tenant sees one value in µJ per
// start of the service.
type Publisher struct {
	random func() float64
	vms    map[string]*publication
	list   []VM // reused from publish to publish
	round  uint64
}

// A publication is what a Publisher remembers of a VM.
type publication struct {
	base, ledger [energy.Kinds]energy.Microjoules
	shown        VM
	next         time.Time
	round        uint64 // when it was last listed
}

// NewPublisher makes a Publisher. Random gives numbers from 0 to 1 for the jitter, such as those of math/rand/v2.
func NewPublisher(random func() float64) *Publisher {
	return &Publisher{random: random, vms: make(map[string]*publication)}
}

// early is the part of an interval by which a publish may come early, because the ticks that it rides on come
// with jitter of their own; without it every second one would be missed. Two publishes are thus never closer than
// 0.95 intervals.
const early = 20

// Publish takes the ledger's readings at a tick and gives the VMs to show. Due is false if nothing changed for
// any of them since the last time, so that there is nothing to publish. The slice is overwritten by the next
// call. Of a UUID that stands there twice, the first counts.
func (p *Publisher) Publish(now time.Time, readings []Reading) (vms []VM, due bool) {
	p.round++
	p.list = p.list[:0]
	due = p.round == 1 // even if there is no VM: then that is what there is to show
	for i := range readings {
		r := &readings[i]
		vm := p.vms[r.UUID]
		switch {
		case vm == nil:
			vm = &publication{base: r.Energy, ledger: r.Energy}
			vm.shown = VM{UUID: r.UUID, Values: Values{Energy: r.Energy, Updated: now}}
			vm.next = p.following(now, r.Policy)
			p.vms[r.UUID] = vm
			due = true
		case vm.round == p.round:
			continue
		case r.Policy.Off:
		case !now.Add(r.Policy.Interval / early).Before(vm.next), now.Before(vm.shown.Updated): // or the clock was set back
			vm.step(now, r)
			vm.next = p.following(now, r.Policy)
			due = true
		}
		if vm.shown.Name != r.Name || vm.shown.Off != r.Policy.Off || vm.shown.Interval != r.Policy.Interval {
			vm.shown.Name, vm.shown.Off, vm.shown.Interval = r.Name, r.Policy.Off, r.Policy.Interval
			if next := p.following(now, r.Policy); next.Before(vm.next) {
				vm.next = next // a shorter interval holds from now on
			}
			due = true
		}
		vm.round = p.round
		p.list = append(p.list, vm.shown)
	}
	for uuid, vm := range p.vms {
		if vm.round != p.round {
			delete(p.vms, uuid) // should it come back, its ledger is its base
			due = true
		}
	}
	return p.list, due
}

func (p *Publisher) following(now time.Time, policy Policy) time.Time {
	return now.Add(policy.Interval + time.Duration(p.random()*float64(policy.Jitter)))
}

// step publishes a VM's counters anew.
func (vm *publication) step(now time.Time, r *Reading) {
	quantum := max(r.Policy.Quantum, 1)
	var moved energy.Microjoules
	for k, ledger := range r.Energy {
		shown := &vm.shown.Energy[k]
		before := *shown
		if ledger > vm.base[k] {
			*shown = max(*shown, vm.base[k]+(ledger-vm.base[k])/quantum*quantum)
		}
		if r.Running && *shown == before && ledger > vm.ledger[k] {
			*shown++
		}
		if ledger > vm.ledger[k] { // a ledger that went back is a mistake, not a reason to go back too
			vm.ledger[k] = ledger
		}
		if k := energy.Kind(k); k == energy.Package || k == energy.DRAM {
			moved += *shown - before
		}
	}
	// From what was published, so that the power tells no more than the counters do.
	vm.shown.Power = moved.Per(now.Sub(vm.shown.Updated))
	vm.shown.Updated = now
}
