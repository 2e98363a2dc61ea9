package prometheus

import (
	"io"
	"strconv"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/snapshot"
)

// seriesOf tells how many series a Snapshot has, about.
func seriesOf(s *snapshot.Snapshot) int {
	vms := len(s.VMs) + len(s.FormerVMs)
	return 24 + 4*len(s.Zones) + vms*(3+s.Charged().Len()*snapshot.Parts) + len(s.Series) + len(s.Unattributed) + len(s.Errors)
}

// addSnapshot adds all series of a Snapshot.
func (b *builder) addSnapshot(s *snapshot.Snapshot) {
	for _, e := range s.Errors {
		b.add(errorsTotal, float64(e.Count), e.Component)
	}
	addHost(b, &s.Host)
	b.add(ledgerError, float64(s.LedgerError)/1e6)
	b.addHistogram(sampleDuration, &s.Duration)
	b.addHistogram(sampleLateness, &s.Lateness)
	for _, u := range s.Unattributed {
		b.addSince(unattributedEnergy, u.Energy.Joules(), s.Created, u.Kind.String(), u.Reason)
	}
	addZones(b, s.Zones)
	kinds := s.Charged()
	addVMs(b, s, kinds)
	addProcesses(b, s)
	for kind := range kinds.All() {
		b.add(retiredEnergy, s.Retired.VMs.Of(kind).Joules(), "vm", kind.String())
		b.add(retiredEnergy, float64(int64(s.Retired.Processes.Of(kind))+s.Rebased[kind])/1e6, "process", kind.String())
	}
}

// clean makes a label value of a name from outside.
func clean(name string) string { return export.LabelValue(name) }

// WriteText writes a Snapshot in the text format of Prometheus.
func WriteText(w io.Writer, s *snapshot.Snapshot) error {
	b := new(builder)
	b.reset(seriesOf(s))
	b.addSnapshot(s)
	for _, family := range b.families() {
		if _, err := expfmt.MetricFamilyToText(w, family); err != nil {
			return err
		}
	}
	return nil
}

func addVMs(b *builder, s *snapshot.Snapshot, kinds energy.KindSet) {
	for i := range s.VMs {
		vm := &s.VMs[i]
		uuid, name := clean(vm.UUID), clean(vm.Name)
		addMeter(b, &vm.Energy, vm.CPU, vm.Created, kinds, uuid, name)
		b.add(vmPower, float64(vm.Power), uuid, name)
		b.add(vmInfo, 1, uuid, name, clean(vm.Title), strconv.Itoa(vm.VCPUs), vm.Source,
			clean(vm.Project), clean(vm.User), clean(vm.Flavor))
	}
	if s.VMSource != "" {
		b.add(vmConflicts, float64(s.Conflicts))
	}
	for i := range s.FormerVMs {
		vm := &s.FormerVMs[i]
		addMeter(b, &vm.Energy, vm.CPU, vm.Created, kinds, clean(vm.UUID), clean(vm.Name))
	}
}

// addMeter adds the counters of a VM.
func addMeter(b *builder, e *snapshot.Energies, cpu time.Duration, created time.Time, kinds energy.KindSet, uuid, name string) {
	for kind := range kinds.All() {
		for part := range snapshot.Part(snapshot.Parts) {
			b.addSince(vmEnergy, e[kind][part].Joules(), created, uuid, name, kind.String(), part.String())
		}
	}
	b.addSince(vmCPU, cpu.Seconds(), created, uuid, name)
}

// addProcesses adds the series of processes, and the sum of all others over the zones of the identity.
func addProcesses(b *builder, s *snapshot.Snapshot) {
	for i := range s.Series {
		p := &s.Series[i]
		b.addSince(processEnergy, p.Energy.Joules(), p.Created, strconv.Itoa(int(p.PID)), clean(p.Comm), clean(p.Exe))
	}
	b.addSince(processEnergy, s.Rest.In(s.Basis).Joules(), s.Created, "", "", "")
}
