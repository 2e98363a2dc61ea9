package vmmap

import (
	"slices"
	"strings"
	"time"
)

// maxPast bounds how many VMs that have gone are remembered.
const maxPast = 20_000

// Restore goes on from what an earlier run knew: its VMs, where the Process of one is zero that
// cannot be told, and those that it remembered. Until libvirt answers they stand for its listing,
// so that nobody else gets the UUID or the name of a domain that is shut off. It makes a new Map at
// once if there was a look already.
func (m *Mapper) Restore(vms []VM, past []Past) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = make(map[string]*VM, len(vms)) // a look that knew nothing of them decides nothing
	for i := range vms {
		m.held[vms[i].UUID] = &vms[i]
	}
	for _, p := range past {
		m.past[p.UUID] = p.Left
	}
	m.pastVMs = nil
	if l := &m.listing; m.config.Libvirt != nil && !l.answered {
		for i := range vms {
			if vms[i].Source == FromLibvirt {
				l.domains = append(l.domains, vms[i].domain())
			}
		}
		if l.err == nil {
			l.err, l.since = errNotYet, time.Now()
		}
	}
	if m.looked {
		m.publish()
	}
}

// domain is what libvirt said of a VM. Its number is not known, and is another one by now.
func (vm *VM) domain() Domain {
	return Domain{UUID: vm.UUID, Name: vm.Name, Title: vm.Title, VCPUs: vm.VCPUs, State: Shutoff,
		Project: vm.Project, User: vm.User, Flavor: vm.Flavor, Share: vm.Share, Publish: vm.Publish}
}

// remember keeps the VMs for the next look, and which of those before have gone.
func (m *Mapper) remember(vms []VM) {
	before := m.held
	m.held = make(map[string]*VM, len(vms))
	for i := range vms {
		m.held[vms[i].UUID] = &vms[i]
		if _, returned := m.past[vms[i].UUID]; returned && !vms[i].Ordinary {
			delete(m.past, vms[i].UUID)
			m.pastVMs = nil
		}
	}
	now := time.Now()
	for uuid, vm := range before {
		if m.held[uuid] == nil && !vm.Ordinary {
			m.past[uuid] = now
			m.pastVMs = nil
		}
	}
	for len(m.past) > maxPast {
		oldest := ""
		for uuid, left := range m.past {
			if oldest == "" || left.Before(m.past[oldest]) {
				oldest = uuid
			}
		}
		delete(m.past, oldest)
	}
}

// listPast returns the VMs that have gone, in order. The slice is not changed any more.
func (m *Mapper) listPast() []Past {
	if m.pastVMs == nil {
		m.pastVMs = make([]Past, 0, len(m.past))
		for uuid, left := range m.past {
			m.pastVMs = append(m.pastVMs, Past{uuid, left})
		}
		slices.SortFunc(m.pastVMs, func(a, b Past) int { return strings.Compare(a.UUID, b.UUID) })
	}
	return m.pastVMs
}
