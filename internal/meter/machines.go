package meter

import (
	"slices"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
)

// A machine is the account of a virtual machine.
type machine struct {
	vmmap.VM
	series *vmSeries         // of its present name
	former []*vmSeries       // of names that it had before, as long as they are shown
	past   snapshot.Energies // what its series held that have been retired
	// present says that it exists, running or not: the map has it, or an earlier run had it and nothing
	// has contradicted that yet (libvirt may still be starting, and needs the machine's share to be there).
	present bool
	encoded []byte // what the state has of all this; nil where something is new
}

// machines are the accounts of all virtual machines: those in the map, and for a while those that left it.
type machines struct {
	byUUID  map[string]*machine
	ordered []*machine           // by UUID
	current *vmmap.Map           // which ordered and indexed were made for
	indexed []*machine           // by the index in current.VMs
	series  []*vmSeries          // of all names, by UUID and name
	retired map[string][]retired // by UUID
	past    []vmmap.Past         // as in current, or as an earlier run left it
	noticed []proc.ID            // by the last notice; its memory is used again

	// adopted are processes that the map does not have, or not yet: they were started by one that works for the machine,
	// and may have lived for a moment only.
	adopted proc.Descent[*machine]
}

func newMachines() machines {
	return machines{byUUID: make(map[string]*machine), retired: make(map[string][]retired)}
}

// follow takes over a new map. It costs nothing while the map stays the same.
func (m *Meter) follow(vms *vmmap.Map, now time.Time) {
	ms := &m.machines
	if vms != ms.current && !vms.Blind {
		ms.current, ms.past = vms, vms.Past
		ms.adopted.Clear() // it has those that live
		ms.indexed = ms.indexed[:0]
		for _, a := range ms.ordered {
			if vms.Complete || a.Source != vmmap.FromLibvirt { // only libvirt knows machines that do not run
				a.present, a.State, a.VM.Process, a.encoded = false, vmmap.Shutoff, proc.ID{}, nil
			}
		}
		var running []ledger.Machine
		for _, vm := range vms.VMs {
			a := m.machineOf(vm.UUID)
			a.VM, a.present, a.encoded = vm, true, nil
			m.name(a)
			ms.indexed = append(ms.indexed, a)
			if vm.State == vmmap.Running && !vm.Ordinary { // anybody can claim to have any number of CPUs
				running = append(running, ledger.Machine{Slot: a.series.slot, VCPUs: vm.VCPUs})
			}
		}
		m.ledger.SetMachines(running)
		m.reorder()
	}
	m.retire(now)
}

// machineOf finds or opens the account of a UUID.
func (m *Meter) machineOf(uuid string) *machine {
	ms := &m.machines
	a := ms.byUUID[uuid]
	if a == nil {
		a = &machine{VM: vmmap.VM{UUID: uuid}, past: m.pastOf(uuid)}
		ms.byUUID[uuid] = a
	}
	return a
}

func (m *Meter) reorder() {
	ms := &m.machines
	ms.ordered = ms.ordered[:0]
	for _, a := range ms.byUUID {
		ms.ordered = append(ms.ordered, a)
	}
	slices.SortFunc(ms.ordered, func(a, b *machine) int { return strings.Compare(a.UUID, b.UUID) })
}

// adopt finds in the sample the processes that were started by one that works for a virtual machine.
func (m *Meter) adopt() {
	ms := &m.machines
	if ms.current == nil || len(ms.current.VMs) == 0 {
		return
	}
	for ms.adopted.Begin(); ms.adopted.Again(); {
		for i := range m.sample.Processes {
			p := &m.sample.Processes[i]
			if p.Parent.Start != 0 && !p.Kernel && m.ownerOf(p) == nil {
				a := m.owner(p.Parent.PID, p.Parent.Start)
				ms.adopted.Add(p.ID, p.Parent, a, a != nil)
			}
		}
	}
}

// ownerOf gives the virtual machine that a process works for, or nil.
func (m *Meter) ownerOf(p *cputime.Process) *machine {
	if a := m.owner(p.PID, p.Start); a != nil {
		return a
	}
	if p.Owner != 0 {
		return m.owner(p.Owner, 0)
	}
	a, _ := m.machines.adopted.Of(p.ID)
	return a
}

// owner gives the virtual machine that the map has a process for, or nil. A start of 0 stands for any.
func (m *Meter) owner(pid int32, start uint64) *machine {
	if m.machines.current == nil {
		return nil
	}
	if i, ok := m.machines.current.Find(pid, start); ok {
		return m.machines.indexed[i]
	}
	return nil
}
