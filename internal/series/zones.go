package series

import (
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
)

// hostEnergy and hostPower hand over what each source gave to the host. A source that only an earlier run had keeps its
// energy, and has no power.
func hostEnergy(w *Walker) {
	for _, s := range w.Snapshot.Host.Sources {
		w.text(s.Source)
		w.counter(s.Energy.Joules(), s.Created)
	}
}

func hostPower(w *Walker) {
	for _, s := range w.Snapshot.Host.Sources {
		if s.Live {
			w.text(s.Source)
			w.gauge(float64(s.Power))
		}
	}
}

func ledgerError(w *Walker) { w.gauge(float64(w.Snapshot.LedgerError) / 1e6) }

func zoneMirrors(w *Walker) {
	n := 0
	for i := range w.Snapshot.Zones {
		if w.Snapshot.Zones[i].Mirrors != "" {
			n++
		}
	}
	w.gauge(float64(n))
}

// A zoneSum is what zones with the same labels have together. Zones of earlier runs may have the labels of a zone that is
// there now: the kernel gave it another name, or the sensor is another. They are one series, since there must not be two
// with the same labels, and since its sum does not fall.
type zoneSum struct {
	energy, bound     energy.Microjoules
	integrated        bool
	power             energy.Watts
	resets, uncertain uint64
	wrap              float64
	created           time.Time
}

func sameLabels(a, b *snapshot.Zone) bool {
	return a.Kind == b.Kind && max(a.Package, -1) == max(b.Package, -1) &&
		(a.Path == b.Path || LabelValue(a.Path) == LabelValue(b.Path))
}

func sameLabelsAndSource(a, b *snapshot.Zone) bool { return a.Source == b.Source && sameLabels(a, b) }

// sumOf returns the sum of a zone and those after it that are alike; ok is false where the zone is not the first of them.
func sumOf(zones []snapshot.Zone, i int, alike func(a, b *snapshot.Zone) bool) (sum zoneSum, ok bool) {
	for j := range zones[:i] {
		if alike(&zones[i], &zones[j]) {
			return sum, false
		}
	}
	sum.created = zones[i].Created
	for j := range zones[i:] {
		z := &zones[i+j]
		if !alike(&zones[i], z) {
			continue
		}
		sum.energy += z.Total
		sum.bound += z.Bound
		sum.integrated = sum.integrated || z.Integrated
		sum.power += z.Power
		sum.resets += z.Resets
		sum.uncertain += z.Uncertain
		sum.wrap = max(sum.wrap, z.WrapSeconds) // a zone that is not there has none
		if z.Created.Before(sum.created) {
			sum.created = z.Created
		}
	}
	return sum, true
}

// zone appends the labels that every series of a zone begins with, and returns how long they are.
func (w *Walker) zone(z *snapshot.Zone) int {
	w.word(z.Kind.String())
	if z.Package >= 0 {
		w.number(z.Package)
	} else {
		w.word("")
	}
	w.text(z.Path)
	return len(w.series.Values)
}

// zoneEnergy hands over the zones' energy.
func zoneEnergy(w *Walker) {
	w.eachSource(func(sum zoneSum, whose int) { w.add(sum.energy.Joules(), sum.created, whose) })
}

// zoneBound hands over by how much it may be off, where it may.
func zoneBound(w *Walker) {
	w.eachSource(func(sum zoneSum, whose int) {
		if sum.integrated {
			w.add(sum.bound.Joules(), sum.created, whose)
		}
	})
}

// eachSource calls add, with the labels appended, for what is one zone by them, what has the same
// labels but for its source in one piece. The labels before the source are whose long.
func (w *Walker) eachSource(add func(sum zoneSum, whose int)) {
	zones := w.Snapshot.Zones
	for i := range zones {
		if _, ok := sumOf(zones, i, sameLabels); !ok {
			continue
		}
		whose := w.zone(&zones[i])
		for j := i; j < len(zones); j++ {
			if sum, ok := sumOf(zones, j, sameLabelsAndSource); ok && sameLabels(&zones[i], &zones[j]) {
				w.text(zones[j].Source)
				add(sum, whose)
				w.series.Values = w.series.Values[:whose]
			}
		}
		w.series.Values = w.series.Values[:0]
	}
}

func samePresent(a, b *snapshot.Zone) bool {
	return !a.Missing && !b.Missing && sameLabelsAndSource(a, b)
}

// zonePower and zoneInfo hand over what is known of a zone only while the sensor has it.
func zonePower(w *Walker) {
	w.eachPresent(func(_ *snapshot.Zone, sum zoneSum) { w.gauge(float64(sum.power)) })
}

func zoneInfo(w *Walker) {
	w.eachPresent(func(z *snapshot.Zone, _ zoneSum) {
		w.text(z.Name)
		w.word(z.Split.String())
		w.gauge(1)
	})
}

func (w *Walker) eachPresent(add func(*snapshot.Zone, zoneSum)) {
	zones := w.Snapshot.Zones
	for i := range zones {
		z := &zones[i]
		if z.Missing {
			continue
		}
		if sum, ok := sumOf(zones, i, samePresent); ok {
			w.zone(z)
			w.text(z.Source)
			add(z, sum)
		}
	}
}

func zoneResets(w *Walker) {
	w.eachZone(func(sum zoneSum) { w.counter(float64(sum.resets), sum.created) })
}

func zoneUncertain(w *Walker) {
	w.eachZone(func(sum zoneSum) { w.counter(float64(sum.uncertain), sum.created) })
}

func zoneWrap(w *Walker) {
	w.eachZone(func(sum zoneSum) {
		if sum.wrap > 0 {
			w.gauge(sum.wrap)
		}
	})
}

// eachZone calls add, with the labels appended, for all that is one zone by them.
func (w *Walker) eachZone(add func(zoneSum)) {
	for i := range w.Snapshot.Zones {
		if sum, ok := sumOf(w.Snapshot.Zones, i, sameLabels); ok {
			w.zone(&w.Snapshot.Zones[i])
			add(sum)
			w.series.Values = w.series.Values[:0]
		}
	}
}
