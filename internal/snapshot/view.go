package snapshot

import (
	"cmp"
	"slices"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// A View is what happened between two Snapshots: energies as they stand at the end, powers as the mean
// over the span. Where there is no earlier Snapshot to compare with, powers are those of the last tick.
type View struct {
	*Snapshot               // at the end
	Span      time.Duration // 0 without an earlier Snapshot

	HostPower    energy.Watts
	ZonePower    []energy.Watts // as Zones
	VMs          []VMView       // that are there, by power, the highest first
	Consumers    []Consumer     // by power, the highest first; virtual machines included
	Unattributed []Reason       // what nobody is charged for
}

// A Reason is why energy is charged to nobody, and how much of it over the span.
type Reason struct {
	Reason string
	Power  energy.Watts
}

// A VMView is one virtual machine over the span.
type VMView struct {
	*VM
	Energy energy.Microjoules        // since it was first seen, both parts, zones of the identity
	ByPart [Parts]energy.Microjoules // the same
	Power  energy.Watts
	Share  float64 // of the host's power, 0 to 1
}

// A Consumer is a process, or a virtual machine by its qemu.
type Consumer struct {
	Power energy.Watts // over the span
	PID   int32
	Comm  string // or the virtual machine's name
	Exe   string // "" where unknown
	VM    bool
}

// Between compares two Snapshots of one meter; before may be nil. Neither is changed.
func Between(before, now *Snapshot) View {
	v := View{Snapshot: now, HostPower: now.Host.Power}
	if before != nil && now.Time.After(before.Time) {
		v.Span = now.Time.Sub(before.Time)
		v.HostPower = grown(before.Host.Energy, now.Host.Energy).Per(v.Span)
	}
	v.zones(before)
	v.vms(before)
	v.consumers(before)
	if v.Span > 0 {
		v.unattributed(before)
	}
	return v
}

// grown is by how much a counter grew, 0 for one that started anew.
func grown(before, now energy.Microjoules) energy.Microjoules {
	if now < before {
		return 0
	}
	return now - before
}

func (v *View) zones(before *Snapshot) {
	earlier := map[string]energy.Microjoules{}
	if v.Span > 0 {
		for i := range before.Zones {
			earlier[before.Zones[i].Path] = before.Zones[i].Total
		}
	}
	for i := range v.Zones {
		z := &v.Zones[i]
		power := z.Power
		if e, ok := earlier[z.Path]; ok {
			power = grown(e, z.Total).Per(v.Span)
		}
		v.ZonePower = append(v.ZonePower, power)
	}
}

func (v *View) vms(before *Snapshot) {
	earlier := map[string]energy.Microjoules{}
	if v.Span > 0 {
		for i := range before.VMs {
			earlier[before.VMs[i].UUID] = before.VMs[i].Energy.In(v.Basis)
		}
	}
	for i := range v.Snapshot.VMs {
		vm := &v.Snapshot.VMs[i]
		if !vm.Present {
			continue
		}
		view := VMView{VM: vm, Energy: vm.Energy.In(v.Basis), Power: vm.Power}
		if e, ok := earlier[vm.UUID]; ok {
			view.Power = grown(e, view.Energy).Per(v.Span)
		}
		if v.HostPower > 0 {
			view.Share = float64(view.Power / v.HostPower)
		}
		for k := range v.Basis.All() {
			for p := range view.ByPart {
				view.ByPart[p] += vm.Energy[k][p]
			}
		}
		v.VMs = append(v.VMs, view)
	}
	slices.SortStableFunc(v.VMs, func(a, b VMView) int { return cmp.Compare(b.Power, a.Power) })
}

// consumers joins processes and virtual machines. A process that was not listed all the time has no
// energy of its own to compare: its power is that of the last tick.
func (v *View) consumers(before *Snapshot) {
	type id struct {
		pid   int32
		start uint64
	}
	earlier := map[id]energy.Microjoules{}
	if v.Span > 0 {
		for i := range before.Processes {
			if p := &before.Processes[i]; p.Listed {
				earlier[id{p.PID, p.Start}] = p.Energy
			}
		}
	}
	for i := range v.VMs {
		vm := &v.VMs[i]
		if vm.PID != 0 {
			v.Consumers = append(v.Consumers, Consumer{Power: vm.Power, PID: vm.PID, Comm: vm.Name, VM: true})
		}
	}
	for i := range v.Processes {
		p := &v.Processes[i]
		power := p.Power
		if e, ok := earlier[id{p.PID, p.Start}]; ok && p.Listed && p.Energy >= e {
			power = (p.Energy - e).Per(v.Span)
		}
		v.Consumers = append(v.Consumers, Consumer{Power: power, PID: p.PID, Comm: p.Comm, Exe: p.Exe})
	}
	slices.SortStableFunc(v.Consumers, func(a, b Consumer) int {
		return cmp.Or(cmp.Compare(b.Power, a.Power), cmp.Compare(a.PID, b.PID))
	})
}

func (v *View) unattributed(before *Snapshot) {
	sum := func(s *Snapshot, reason string) (sum energy.Microjoules) {
		for _, u := range s.Unattributed {
			if u.Reason == reason && v.Basis.Has(u.Kind) {
				sum += u.Energy
			}
		}
		return sum
	}
	for _, u := range v.Snapshot.Unattributed {
		if !slices.ContainsFunc(v.Unattributed, func(r Reason) bool { return r.Reason == u.Reason }) {
			v.Unattributed = append(v.Unattributed, Reason{
				u.Reason, grown(sum(before, u.Reason), sum(v.Snapshot, u.Reason)).Per(v.Span),
			})
		}
	}
}
