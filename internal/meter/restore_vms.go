package meter

import (
	"slices"

	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/vmmap"
)

// vms returns the VMs that were there. After a reboot none has its process any more.
func (s *saved) vms() []vmmap.VM {
	var vms []vmmap.VM
	for i := range s.machines {
		vm := s.machines[i].VM
		if !s.sameBoot {
			vm.Process = proc.ID{}
		}
		if s.machines[i].present {
			vms = append(vms, vm)
		}
	}
	return vms
}

// identities2 fills in what a state of version 2 does not say of VMs: all are there, and those
// that are not are remembered. Of those that command lines told of it cannot be known whose they
// were: they may be anybody's again.
func (s *saved) identities2() {
	for i := range s.machines {
		a := &s.machines[i]
		a.present, a.Ordinary = true, a.Source == vmmap.FromArgv
	}
	for uuid, all := range s.retired {
		if !slices.ContainsFunc(s.machines, func(a machine) bool { return a.UUID == uuid }) {
			s.past = append(s.past, vmmap.Past{UUID: uuid, Left: all[len(all)-1].at})
		}
	}
}
