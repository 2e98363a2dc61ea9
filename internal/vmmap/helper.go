package vmmap

import (
	"cmp"
	"slices"

	"github.com/scaph/scaph/internal/proc"
)

// addHelpers gives each VM the processes that work for it: those in its own cgroup, those that libvirt's pid
// files name, and whatever a qemu or a helper has started (virtiofsd does its work in a child). A process works
// for one VM only.
func (m *merger) addHelpers() {
	owner := map[int32]int{} // process id to index in vms
	scopes := map[string]int{}
	numbers := map[int]int{}
	for i, vm := range m.vms {
		if vm.Process == (proc.ID{}) {
			continue
		}
		owner[vm.Process.PID] = i
		if number := m.numbers[vm.UUID]; number > 0 {
			numbers[number] = i
		}
		scope := m.processes.Find(vm.Process.PID).scope
		if _, shared := scopes[scope]; shared {
			scopes[scope] = nobody // two machines in one group: it tells nothing
		} else {
			scopes[scope] = i
		}
	}
	scopes[""] = nobody
	claim := func(p *observed, vm int) {
		if _, taken := owner[p.PID]; taken || p.kernel || p.qemu && !p.mayBe(m.vms[vm].UUID) {
			return
		}
		owner[p.PID], m.used[p.PID] = vm, true
		m.vms[vm].Helpers = append(m.vms[vm].Helpers, p.ID)
	}
	for _, p := range m.processes.All() {
		if vm, ok := scopes[p.scope]; ok && vm != nobody {
			claim(p, vm)
		}
	}
	for number, pids := range m.runtime.helpers {
		vm, ok := numbers[number]
		for _, pid := range pids {
			if p := m.processes.Find(pid); ok && p != nil && p.helper {
				claim(p, vm)
			}
		}
	}
	var descent proc.Descent[int]
	for descent.Begin(); descent.Again(); {
		for _, p := range m.processes.All() {
			// The table was not read at one instant: the parent's id may have been used again.
			if parent := m.processes.Find(p.parent); parent != nil {
				vm, ok := owner[parent.PID]
				descent.Add(p.ID, parent.ID, vm, ok)
			}
		}
	}
	for _, p := range m.processes.All() {
		if vm, ok := descent.Of(p.ID); ok {
			claim(p, vm)
		}
	}
	for i := range m.vms {
		slices.SortFunc(m.vms[i].Helpers, func(a, b proc.ID) int { return cmp.Compare(a.PID, b.PID) })
	}
}

// nobody stands for no VM where an index of one is expected.
const nobody = -1
