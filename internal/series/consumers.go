package series

import (
	"time"

	"github.com/scaph/scaph/internal/snapshot"
)

func vmCPU(w *Walker) {
	for i := range w.Snapshot.VMs {
		vm := &w.Snapshot.VMs[i]
		w.vm(i)
		w.counter(vm.CPU.Seconds(), vm.Created)
	}
	for i := range w.Snapshot.FormerVMs {
		vm := &w.Snapshot.FormerVMs[i]
		w.vm(len(w.Snapshot.VMs) + i)
		w.counter(vm.CPU.Seconds(), vm.Created)
	}
}

func vmEnergy(w *Walker) {
	for i := range w.Snapshot.VMs {
		vm := &w.Snapshot.VMs[i]
		w.meter(i, &vm.Energy, vm.Created)
	}
	for i := range w.Snapshot.FormerVMs {
		vm := &w.Snapshot.FormerVMs[i]
		w.meter(len(w.Snapshot.VMs)+i, &vm.Energy, vm.Created)
	}
}

// meter hands over what a VM was charged, by kind of zone and part.
func (w *Walker) meter(i int, e *snapshot.Energies, created time.Time) {
	whose := w.vm(i)
	for kind := range w.kinds.All() {
		for part := range snapshot.Part(snapshot.Parts) {
			w.word(kind.String())
			w.word(part.String())
			w.add(e[kind][part].Joules(), created, whose)
		}
	}
	w.series.Values = w.series.Values[:0]
}

func vmInfo(w *Walker) {
	for i := range w.Snapshot.VMs {
		vm := &w.Snapshot.VMs[i]
		w.vm(i)
		w.text(vm.Title)
		w.number(vm.VCPUs)
		w.text(vm.Source)
		w.text(vm.Project)
		w.text(vm.User)
		w.text(vm.Flavor)
		w.gauge(1)
	}
}

func vmPower(w *Walker) {
	for i := range w.Snapshot.VMs {
		vm := &w.Snapshot.VMs[i]
		w.vm(i)
		w.gauge(float64(vm.Power))
	}
}

// processEnergy hands over the series of processes, and the sum of all others over the zones of the identity.
func processEnergy(w *Walker) {
	s := w.Snapshot
	for i := range s.Series {
		p := &s.Series[i]
		w.number(int(p.PID))
		w.text(p.Comm)
		w.text(p.Exe)
		w.counter(p.Energy.Joules(), p.Created)
	}
	w.word("")
	w.word("")
	w.word("")
	w.counter(s.Rest.In(s.Basis).Joules(), s.Created)
}

func unattributedEnergy(w *Walker) {
	for _, u := range w.Snapshot.Unattributed {
		w.word(u.Kind.String())
		w.text(u.Reason)
		w.counter(u.Energy.Joules(), w.Snapshot.Created)
	}
}

func retiredEnergy(w *Walker) {
	s := w.Snapshot
	for kind := range w.kinds.All() {
		w.word("vm")
		w.word(kind.String())
		w.gauge(s.Retired.VMs.Of(kind).Joules())
		w.word("process")
		w.word(kind.String())
		w.gauge(float64(int64(s.Retired.Processes.Of(kind))+s.Rebased[kind]) / 1e6)
	}
}
