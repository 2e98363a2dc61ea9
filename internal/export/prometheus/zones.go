package prometheus

import (
	"slices"
	"strconv"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
)

// addHost adds what each source gave to the host. A source that only an earlier run had keeps its energy, and has no
// power.
func addHost(b *builder, host *snapshot.Host) {
	for _, s := range host.Sources {
		b.addSince(hostEnergy, s.Energy.Joules(), s.Created, s.Source)
		if s.Live {
			b.add(hostPower, float64(s.Power), s.Source)
		}
	}
}

// A zoneSeries is what the labels of a zone's series say.
type zoneSeries struct{ zone, pkg, path string }

// addZones adds the zones' series. Zones of earlier runs may have the labels of a zone that is there now: the kernel
// gave it another name, or the sensor is another. They are one series, since a scrape must not have one twice, and
// since its sum does not fall.
func addZones(b *builder, zones []snapshot.Zone) {
	mirrors := 0
	var done []zoneSeries
	for i := range zones {
		if zones[i].Mirrors != "" {
			mirrors++
		}
		labels := labelsOf(&zones[i])
		if slices.Contains(done, labels) {
			continue
		}
		done = append(done, labels)
		addZone(b, labels, zones[i:])
	}
	b.add(zoneMirrors, float64(mirrors))
}

// addZone adds the series of those zones that have the labels of the first.
func addZone(b *builder, labels zoneSeries, zones []snapshot.Zone) {
	type bySource struct {
		source  string
		energy  energy.Microjoules
		created time.Time
	}
	var energies []bySource
	var resets, uncertain uint64
	var wrap float64
	created := zones[0].Created
	for i := range zones {
		z := &zones[i]
		if labelsOf(z) != labels {
			continue
		}
		resets += z.Resets
		uncertain += z.Uncertain
		wrap = max(wrap, z.WrapSeconds) // a zone that is not there has none
		s := slices.IndexFunc(energies, func(s bySource) bool { return s.source == z.Source })
		if s < 0 {
			s = len(energies)
			energies = append(energies, bySource{source: z.Source, created: z.Created})
		}
		energies[s].energy += z.Total
		energies[s].created = earlier(energies[s].created, z.Created)
		created = earlier(created, z.Created)
	}
	for _, s := range energies {
		b.addSince(zoneEnergy, s.energy.Joules(), s.created, labels.zone, labels.pkg, labels.path, s.source)
	}
	b.addSince(zoneResets, float64(resets), created, labels.zone, labels.pkg, labels.path)
	b.addSince(zoneUncertain, float64(uncertain), created, labels.zone, labels.pkg, labels.path)
	if wrap > 0 {
		b.add(zoneWrap, wrap, labels.zone, labels.pkg, labels.path)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func labelsOf(z *snapshot.Zone) zoneSeries {
	labels := zoneSeries{zone: z.Kind.String(), path: clean(z.Path)}
	if z.Package >= 0 {
		labels.pkg = strconv.Itoa(z.Package)
	}
	return labels
}
