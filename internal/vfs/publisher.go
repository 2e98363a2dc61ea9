package vfs

import (
	"cmp"
	"slices"
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
// Published is the ledger's value rounded down to a multiple of the quantum. What is rounded off stays
// in the ledger and comes with a later publish, so the long run is exact. If that would leave the
// counter of a running VM where it was although the ledger moved, it moves by 1 µJ all the same, as
// far as the ledger covers it, since some readers take a counter that stands still for one that
// wrapped.
//
// What a VM was shown, and when it may be shown more, is remembered while it is away, and beyond the
// end of the process ([Publisher.Keep]). A VM that leaves and returns, a restart and a reload thus show nothing
// between two publishes. A VM that is not remembered starts at its ledger's value rounded up: a
// multiple of the quantum too, and no less than whatever an earlier process may have shown of it, since
// published never exceeds that.
type Publisher struct {
	random func() float64
	vms    map[string]*publication // that are there, or were
	list   []VM                    // reused from publish to publish
	round  uint64
	memory memory
}

// A publication is what a Publisher remembers of a VM.
type publication struct {
	shown  VM
	ledger [energy.Kinds]energy.Microjoules // at the last publish
	lost   [energy.Kinds]energy.Microjoules // by how much the ledger has ever gone back, which a VM is not to notice
	next   time.Time
	round  uint64 // when it was last listed; 0 for an earlier process
}

// maxAway is how many VMs that are not there a Publisher remembers; the limit is reached at twice
// that number, and then those that left first are forgotten.
const maxAway = 5000

// NewPublisher returns a Publisher. Random returns numbers from 0 to 1 for the jitter, such as those of
// math/rand/v2.
func NewPublisher(random func() float64) *Publisher {
	return &Publisher{random: random, vms: make(map[string]*publication)}
}

// early is the part of an interval by which a publish may come early, because the ticks that it rides
// on come with jitter of their own; without it every second one would be missed. Two publishes are thus
// never closer than 0.95 intervals.
const early = 20

// Publish takes the ledger's readings at a tick and returns the VMs to show. Due is false if nothing
// changed for any of them since the last time, so that there is nothing to publish. The slice is
// overwritten by the next call. Of a UUID that stands there twice, the first counts.
func (p *Publisher) Publish(now time.Time, readings []Reading) (vms []VM, due bool) {
	before, stayed := len(p.list), 0
	due = p.round == 0 // even if there is no VM: then that is what there is to show
	p.round++
	p.list = p.list[:0]
	for i := range readings {
		r := &readings[i]
		vm := p.vms[r.UUID]
		switch {
		case vm == nil:
			vm = p.begin(now, r)
			p.vms[r.UUID] = vm
			due = true
		case vm.round == p.round:
			continue
		case vm.round == p.round-1:
			stayed++
		default:
			due = true // it is back
		}
		vm.round = p.round
		if vm.shown.Interval != r.Policy.Interval {
			vm.shown.Interval, vm.next = r.Policy.Interval, p.following(vm.shown.Updated, r.Policy)
			due = true
		}
		if vm.shown.Name != r.Name || vm.shown.Off != r.Policy.Off {
			vm.shown.Name, vm.shown.Off = r.Name, r.Policy.Off
			due = true
		}
		if !r.Policy.Off && vm.isDue(now, r.Policy) {
			vm.step(now, r)
			vm.next = p.following(now, r.Policy)
			due = true
		}
		p.list = append(p.list, vm.shown)
	}
	if stayed < before {
		due = true // some have left
		p.forget()
	}
	return p.list, due
}

// begin remembers a VM from now on.
func (p *Publisher) begin(now time.Time, r *Reading) *publication {
	vm := &publication{ledger: r.Energy, next: p.following(now, r.Policy)}
	vm.shown = VM{UUID: r.UUID, Name: r.Name, Off: r.Policy.Off, Values: Values{Updated: now, Interval: r.Policy.Interval}}
	quantum := max(r.Policy.Quantum, 1)
	for k, ledger := range r.Energy {
		vm.shown.Energy[k] = (ledger + quantum - 1) / quantum * quantum
	}
	return vm
}

func (p *Publisher) following(now time.Time, policy Policy) time.Time {
	return now.Add(policy.Interval + time.Duration(p.random()*float64(policy.Jitter)))
}

// isDue reports whether a VM is to be shown new values; it is, too, if the clock was set back.
func (vm *publication) isDue(now time.Time, policy Policy) bool {
	return !now.Add(policy.Interval/early).Before(vm.next) || now.Before(vm.shown.Updated)
}

// step shows a VM's counters as they are now.
func (vm *publication) step(now time.Time, r *Reading) {
	quantum := max(r.Policy.Quantum, 1)
	var moved energy.Microjoules
	for k, ledger := range r.Energy {
		last := vm.ledger[k]
		vm.ledger[k] = ledger
		if ledger < last { // a mistake, or the ledger was lost
			vm.lost[k] += last - ledger
		}
		shown, due := &vm.shown.Energy[k], vm.lost[k]+ledger
		before := *shown
		*shown = max(before, due/quantum*quantum)
		if r.Running && *shown == before && ledger > last && due > before {
			*shown++
		}
		if energy.PackageBasis.Has(energy.Kind(k)) { // what its readers add up
			moved += *shown - before
		}
	}
	// From what was published, so that the power tells no more than the counters do.
	vm.shown.Power = moved.Per(now.Sub(vm.shown.Updated))
	vm.shown.Updated = now
}

// forget bounds how many VMs are remembered that are not there.
func (p *Publisher) forget() {
	if len(p.vms)-len(p.list) < 2*maxAway {
		return
	}
	away := make([]*publication, 0, len(p.vms))
	for _, vm := range p.vms {
		if vm.round != p.round {
			away = append(away, vm)
		}
	}
	slices.SortFunc(away, func(a, b *publication) int { return cmp.Compare(a.round, b.round) })
	for _, vm := range away[:len(away)-maxAway] {
		delete(p.vms, vm.shown.UUID)
	}
}
