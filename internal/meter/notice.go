package meter

import "github.com/scaph/scaph/internal/vmmap"

// notice tells the source of VMs which processes of the sample may be one that it does not know:
// first those that are named like a qemu and belong to no VM, since what they execute may have their
// name, then those that are new, or have another name since they executed another program. So a VM
// that nobody announces has its meter from the start. It tells of the ends of those that the source
// knows, too. All others are what they were.
func (m *Meter) notice() {
	if m.seq == 0 {
		return // all are new, and the source has just looked at them
	}
	ms := &m.machines
	ms.noticed = ms.noticed[:0]
	likely := 0
	for i := range m.sample.Processes {
		p := &m.sample.Processes[i]
		if p.Kernel || p.Exited != (m.owner(p.PID, p.Start) != nil) {
			continue
		}
		named := vmmap.NamedLikeQemu(p.Comm)
		if !p.Fresh && !p.Exited && !named {
			continue
		}
		ms.noticed = append(ms.noticed, p.ID)
		if named && !p.Exited {
			last := len(ms.noticed) - 1
			ms.noticed[likely], ms.noticed[last] = ms.noticed[last], ms.noticed[likely]
			likely++
		}
	}
	m.VMs.Notice(ms.noticed)
}
