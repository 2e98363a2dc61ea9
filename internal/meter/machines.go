package meter

import (
	"slices"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/vmmap"
)

const (
	// goneAfter is how long a virtual machine that nobody knows any more keeps its series.
	goneAfter = 15 * time.Minute
	// maxRetired bounds how many totals of virtual machines that are gone are kept, in case they return.
	maxRetired = 10_000
)

// A machine is the account of a virtual machine.
type machine struct {
	vmmap.VM
	slot   ledger.Slot
	cpu    uint64 // ns, cumulative
	before Energies
	seen   time.Time // when it was last present
	// present says that it exists, running or not: the map has it, or an earlier run had it and nothing
	// has contradicted that yet (libvirt may still be starting, and needs the machine's share to be there).
	present bool
}

// machines are the accounts of all virtual machines: those in the map, and for a while those that left it.
type machines struct {
	byUUID  map[string]*machine
	ordered []*machine // by UUID
	current *vmmap.Map // which ordered and indexed were made for
	indexed []*machine // by the index in current.VMs
	retired map[string]retired

	// adopted are processes that the map does not have, or not yet: they were started by one that works for the machine,
	// and may have lived for a moment only.
	adopted map[cputime.ID]*machine
}

// retired is the total of a virtual machine that is gone. It has moved to the row Gone, but should the machine
// come back, its own meter goes on from here.
type retired struct {
	energy Energies
	at     time.Time
}

func newMachines() machines {
	return machines{
		byUUID: make(map[string]*machine), retired: make(map[string]retired), adopted: make(map[cputime.ID]*machine),
	}
}

// follow takes over a new map. It costs nothing while the map stays the same.
func (m *Meter) follow(vms *vmmap.Map, now time.Time) {
	ms := &m.machines
	if vms != ms.current {
		ms.current = vms
		clear(ms.adopted) // it has those that live
		ms.indexed = ms.indexed[:0]
		for _, a := range ms.ordered {
			if vms.Complete || a.Source != vmmap.FromLibvirt { // only libvirt knows machines that do not run
				a.present, a.State, a.VM.Process = false, vmmap.Shutoff, vmmap.Process{}
			}
		}
		var running []ledger.Machine
		for _, vm := range vms.VMs {
			a := m.machineOf(vm.UUID)
			a.VM, a.present = vm, true
			ms.indexed = append(ms.indexed, a)
			if vm.State == vmmap.Running {
				running = append(running, ledger.Machine{Slot: a.slot, VCPUs: vm.VCPUs})
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
		a = &machine{VM: vmmap.VM{UUID: uuid}, slot: m.ledger.Open()}
		if r, ok := ms.retired[uuid]; ok {
			a.before = r.energy
			delete(ms.retired, uuid)
		}
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

// retire closes the accounts of machines that have been gone for long enough.
func (m *Meter) retire(now time.Time) {
	ms := &m.machines
	changed := false
	for _, a := range ms.ordered {
		if a.present || now.Before(a.seen) { // or the wall clock was set back
			a.seen = now
		}
		if now.Sub(a.seen) < goneAfter {
			continue
		}
		total := a.before
		total.add(m.energiesOf(a.slot))
		ms.retired[a.UUID] = retired{energy: total, at: now}
		m.ledger.Close(a.slot, ledger.Gone)
		delete(ms.byUUID, a.UUID)
		changed = true
	}
	if changed {
		m.reorder()
		ms.forgetOldest()
	}
}

func (ms *machines) forgetOldest() {
	for len(ms.retired) > maxRetired {
		oldest := ""
		for uuid, r := range ms.retired {
			if oldest == "" || r.at.Before(ms.retired[oldest].at) {
				oldest = uuid
			}
		}
		delete(ms.retired, oldest)
	}
}

// maxGenerations bounds how many generations of processes, each started by the one before, adopt follows within one tick.
const maxGenerations = 8

// adopt finds in the sample the processes that were started by one that works for a virtual machine. A child may be told
// before its parent is, so the sample is gone through again as long as that finds some.
func (m *Meter) adopt() {
	ms := &m.machines
	if ms.current == nil || len(ms.current.VMs) == 0 {
		return
	}
	for range maxGenerations {
		found := false
		for i := range m.sample.Processes {
			p := &m.sample.Processes[i]
			if p.Parent.Start == 0 || p.Kernel || m.ownerOf(p) != nil {
				continue
			}
			a := m.owner(p.Parent.PID, p.Parent.Start)
			if a == nil {
				a = ms.adopted[p.Parent]
			}
			if a != nil {
				ms.adopted[p.ID] = a
				found = true
			}
		}
		if !found {
			return
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
	return m.machines.adopted[p.ID]
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
