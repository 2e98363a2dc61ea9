package prometheus

import (
	"cmp"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/prometheus/common/expfmt"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/meter"
)

// seriesOf tells how many series a Snapshot has, about.
func seriesOf(s *meter.Snapshot) int {
	listed := 0
	for i := range s.Processes {
		if s.Processes[i].Listed {
			listed++
		}
	}
	return 16 + 4*len(s.Zones) + len(s.VMs)*(3+len(kindsOf(s.Zones))*meter.Parts) + listed + len(s.Unattributed) + len(s.Errors)
}

// addSnapshot adds all series of a Snapshot.
func (b *builder) addSnapshot(s *meter.Snapshot) {
	for _, e := range s.Errors {
		b.add(errorsTotal, float64(e.Count), e.Component)
	}
	b.add(hostEnergy, s.Host.Energy.Joules(), s.Host.Source)
	b.add(hostPower, float64(s.Host.Power), s.Host.Source)
	b.add(ledgerError, float64(s.LedgerError)/1e6)
	b.addHistogram(sampleDuration, &s.Duration)
	b.addHistogram(sampleLateness, &s.Lateness)
	for _, u := range s.Unattributed {
		b.add(unattributedEnergy, u.Energy.Joules(), u.Kind.String(), u.Reason)
	}
	addZones(b, s.Zones)
	addVMs(b, s, kindsOf(s.Zones))
	addProcesses(b, s)
}

// maxLabel bounds a label value, in bytes: names come from outside, and every scrape carries them.
const maxLabel = 256

// clean makes a label value of a name from outside.
func clean(name string) string { return export.Printable(name, maxLabel) }

// WriteText writes a Snapshot in the text format of Prometheus.
func WriteText(w io.Writer, s *meter.Snapshot) error {
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
func kindsOf(zones []meter.Zone) []energy.Kind {
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

func addZones(b *builder, zones []meter.Zone) {
	for i := range zones {
		z := &zones[i]
		zone, pkg, path := z.Kind.String(), "", clean(z.Path)
		if z.Package >= 0 {
			pkg = strconv.Itoa(z.Package)
		}
		b.add(zoneEnergy, z.Total.Joules(), zone, pkg, path, z.Source)
		b.add(zoneResets, float64(z.Resets), zone, pkg, path)
		b.add(zoneUncertain, float64(z.Uncertain), zone, pkg, path)
		if z.WrapSeconds > 0 {
			b.add(zoneWrap, z.WrapSeconds, zone, pkg, path)
		}
	}
}

func addVMs(b *builder, s *meter.Snapshot, kinds []energy.Kind) {
	for i := range s.VMs {
		vm := &s.VMs[i]
		uuid, name := clean(vm.UUID), clean(vm.Name)
		addEnergies(b, &vm.Energy, kinds, uuid, name)
		b.add(vmCPU, vm.CPU.Seconds(), uuid, name)
		b.add(vmPower, float64(vm.Power), uuid, name)
		b.add(vmInfo, 1, uuid, name, clean(vm.Title), strconv.Itoa(vm.VCPUs), vm.Source,
			clean(vm.Project), clean(vm.User), clean(vm.Flavor))
	}
	if s.VMSource != "" {
		b.add(vmConflicts, float64(s.Conflicts))
	}
	if s.VMSource != "" || s.Gone != (meter.Energies{}) {
		addEnergies(b, &s.Gone, kinds, "", "")
	}
}

func addEnergies(b *builder, e *meter.Energies, kinds []energy.Kind, uuid, name string) {
	for _, kind := range kinds {
		for part := range meter.Part(meter.Parts) {
			b.add(vmEnergy, e[kind][part].Joules(), uuid, name, kind.String(), part.String())
		}
	}
}

// addProcesses adds the listed processes, and the sum of all others over the zones of the identity.
//
// A process that has just ended and another with its process id would be one series twice if they had
// the same name, which makes a scrape invalid: they are summed.
func addProcesses(b *builder, s *meter.Snapshot) {
	type series struct {
		pid       int32
		comm, exe string
	}
	energies := map[series]energy.Microjoules{}
	for i := range s.Processes {
		if p := &s.Processes[i]; p.Listed {
			energies[series{p.PID, clean(p.Comm), clean(p.Exe)}] += p.Energy
		}
	}
	order := slices.SortedFunc(maps.Keys(energies), func(a, b series) int {
		return cmp.Or(cmp.Compare(a.pid, b.pid), cmp.Compare(a.comm, b.comm), cmp.Compare(a.exe, b.exe))
	})
	for _, p := range order {
		b.add(processEnergy, energies[p].Joules(), strconv.Itoa(int(p.pid)), p.comm, p.exe)
	}
	var rest energy.Microjoules
	var done [energy.Kinds]bool
	for i := range s.Zones {
		if z := &s.Zones[i]; z.Attributed && !done[z.Kind] {
			done[z.Kind] = true
			rest += s.Rest.Of(z.Kind)
		}
	}
	b.add(processEnergy, rest.Joules(), "", "", "")
}
