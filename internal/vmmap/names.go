package vmmap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// settleNames sees to it that no two VMs have one name, for a name is what people, dashboards and
// the tree go by. Of VMs that ask for the same one, the one that the better rung vouches for has
// it; of equals the one that had it before, then that of the older process. The others are told
// apart by Proxmox's id, or by their UUID. One that is known by such a name keeps it while it runs,
// though its plain one become free: whoever had that may only be restarting.
func (m *merger) settleNames() {
	order := make([]*VM, len(m.vms))
	for i := range m.vms {
		order[i] = &m.vms[i]
	}
	had := func(vm *VM) bool { before := m.held[vm.UUID]; return before != nil && before.Name == vm.Name }
	slices.SortFunc(order, func(a, b *VM) int {
		return cmp.Or(
			cmp.Compare(b.rank(), a.rank()),
			compareBool(had(b), had(a)),
			cmp.Compare(a.Process.Start, b.Process.Start),
			strings.Compare(a.UUID, b.UUID),
		)
	})
	owner := make(map[string]*VM, len(order))
	for _, vm := range order {
		plain := vm.Name
		if before := m.held[vm.UUID]; before != nil && before.Name != plain && vm.Source == FromArgv && before.Process == vm.Process {
			if other := m.otherName(vm); other == before.Name {
				vm.Name = other
			}
		}
		if with := owner[vm.Name]; with != nil {
			vm.Name = m.otherName(&VM{UUID: vm.UUID, Name: plain, Process: vm.Process})
			if owner[vm.Name] != nil { // somebody made his name look like this one
				vm.Name = vm.UUID
			}
			m.conflicts = append(m.conflicts, conflict{
				ID: vm.Process, found: m.foundAt(vm), uuid: vm.UUID, vm: vm.Name,
				why:  fmt.Sprintf("the name %q is that of the VM with UUID %s", plain, with.UUID),
				hint: "give each VM a name of its own",
			})
		}
		owner[vm.Name] = vm
	}
}

// foundAt returns the number of the look that first met a VM's process.
func (m *merger) foundAt(vm *VM) uint32 {
	if p := m.processes.Find(vm.Process.PID); p != nil {
		return p.found
	}
	return 0
}

// otherName is what a VM is called whose name is another's.
func (m *merger) otherName(vm *VM) string {
	mark := vm.UUID
	if p := m.processes.Find(vm.Process.PID); p != nil && p.qemu && p.argv.id != "" {
		mark = label(p.argv.id)
	}
	mark = " (" + mark + ")"
	return vm.Name[:min(len(vm.Name), max(0, maxName-len(mark)))] + mark
}
