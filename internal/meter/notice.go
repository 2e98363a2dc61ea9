package meter

import (
	"github.com/scaph/scaph/internal/vmmap"

	"github.com/scaph/scaph/internal/proc"
)

// notice tells the source of VMs which processes of the sample may be one that it does not know:
// those that are new, those that have another name, since they executed another program, and those
// that are named like a qemu and belong to no VM, since what they execute may have their name. So a
// VM that nobody announces has its meter from the start.
func (m *Meter) notice() {
	if m.seq == 0 {
		return // all are new, and the source has just looked at them
	}
	ms := &m.machines
	ms.noticed = ms.noticed[:0]
	for i := range m.sample.Processes {
		p := &m.sample.Processes[i]
		if p.Kernel || p.Exited {
			continue
		}
		known := m.processes[p.ID]
		if known != nil && known.comm == p.Comm && !vmmap.NamedLikeQemu(p.Comm) || m.ownerOf(p) != nil {
			continue
		}
		ms.noticed = append(ms.noticed, proc.ID{PID: p.PID, Start: p.Start})
	}
	if len(ms.noticed) > 0 {
		m.VMs.Notice(ms.noticed)
	}
}
