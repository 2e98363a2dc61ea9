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
	return 24 + 4*len(s.Zones) + vms*(3+len(kindsOf(s.Zones))*snapshot.Parts) + len(s.Series) + len(s.Unattributed) + len(s.Errors)
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
	kinds := kindsOf(s.Zones)
	addVMs(b, s, kinds)
	addProcesses(b, s)
	for _, kind := range kinds {
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

// kindsOf gives the kinds of zone that consumers are charged for: those that the sensor has, without a
// psys that is only shown.
func kindsOf(zones []snapshot.Zone) []energy.Kind {
	var has [energy.Kinds]bool
	for i := range zones {
		if z := &zones[i]; int(z.Kind) < len(has) && (z.Kind != energy.Psys || z.Attributed) {
			has[z.Kind] = true
		}
	}
	var kinds []energy.Kind
	for k := range energy.Kind(energy.Kinds) {
		if has[k] {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

func addVMs(b *builder, s *snapshot.Snapshot, kinds []energy.Kind) {
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
func addMeter(b *builder, e *snapshot.Energies, cpu time.Duration, created time.Time, kinds []energy.Kind, uuid, name string) {
	for _, kind := range kinds {
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
	var rest energy.Microjoules
	var done [energy.Kinds]bool
	for i := range s.Zones {
		if z := &s.Zones[i]; z.Attributed && !done[z.Kind] {
			done[z.Kind] = true
			rest += s.Rest.Of(z.Kind)
		}
	}
	b.addSince(processEnergy, rest.Joules(), s.Created, "", "", "")
}
