package series

import (
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
)

// used returns what a process uses, nil before that is known. Until then the process is part of the rest, so that no label
// of its series changes.
func (w *Walker) used(pid int32, start uint64) *ProcessUse {
	if w.System == nil || pid == 0 {
		return nil
	}
	if u := w.System.Processes[pid]; u != nil && u.Start == start {
		return u
	}
	return nil
}

// eachProcess calls do for each VM and each listed process that is known, with its labels appended.
func (w *Walker) eachProcess(do func(u *ProcessUse, power energy.Watts)) {
	s := w.Snapshot
	for i := range s.VMs {
		vm := &s.VMs[i]
		if u := w.used(vm.PID, 0); u != nil {
			w.process(vm.PID, u.Exe, u.Cmdline, vm.Name)
			do(u, vm.Power)
			w.series.Values = w.series.Values[:0]
		}
	}
	for i := range s.Processes {
		p := &s.Processes[i]
		if u := w.used(p.PID, p.Start); u != nil && p.Listed {
			w.process(p.PID, u.Exe, u.Cmdline, "")
			do(u, p.Power)
			w.series.Values = w.series.Values[:0]
		}
	}
}

func (w *Walker) process(pid int32, exe, cmdline, vm string) {
	w.number(int(pid))
	w.text(exe)
	w.text(cmdline)
	w.text(vm)
}

// processMicrowatts hands over the power of processes and of the rest: together, what all processes and VMs have.
func processMicrowatts(w *Walker) {
	var shown energy.Watts
	w.eachProcess(func(_ *ProcessUse, power energy.Watts) {
		shown += power
		w.gauge(float64(power) * 1e6)
	})
	w.word("")
	w.word("(rest)")
	w.word("")
	w.word("")
	w.gauge(max(0, float64(consumed(w.Snapshot)-shown)*1e6))
}

// consumed returns the power of all VMs and processes, those included that ended in the last tick.
func consumed(s *snapshot.Snapshot) energy.Watts {
	all := s.RestPower
	for i := range s.VMs {
		all += s.VMs[i].Power
	}
	for i := range s.Processes {
		// What has used nothing under its own series counts in the rest still.
		if p := &s.Processes[i]; p.Energy > 0 {
			all += p.Power
		}
	}
	return all
}

func use(of func(*ProcessUse) float64) func(*Walker) {
	return func(w *Walker) {
		w.eachProcess(func(u *ProcessUse, _ energy.Watts) { w.gauge(of(u)) })
	}
}

func useIO(of func(*ProcessIO) uint64) func(*Walker) {
	return func(w *Walker) {
		w.eachProcess(func(u *ProcessUse, _ energy.Watts) {
			if u.IO != nil {
				w.add(float64(of(u.IO)), time.Time{}, 0)
			}
		})
	}
}
