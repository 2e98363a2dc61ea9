package snapshot

import (
	"slices"

	"github.com/scaph/scaph/internal/energy"
)

// Add adds another's energies to these.
func (e *Energies) Add(other Energies) {
	for k := range e {
		for p := range e[k] {
			e[k][p] += other[k][p]
		}
	}
}

// In sums both parts over the kinds of a set.
func (e *Energies) In(kinds energy.KindSet) (sum energy.Microjoules) {
	for k := range kinds.All() {
		sum += e.Of(k)
	}
	return sum
}

// Kinds returns the kinds of zone that there are, those that are shown but not attributed too.
func (s *Snapshot) Kinds() (kinds energy.KindSet) {
	for i := range s.Zones {
		kinds = kinds.With(s.Zones[i].Kind)
	}
	return kinds
}

// Charged returns the kinds of zone that consumers are charged for: those that there are, without a
// psys that is shown beside what counts.
func (s *Snapshot) Charged() energy.KindSet {
	return s.Kinds().Without(energy.PsysBasis).Union(s.Basis)
}

// Add adds a zone of the basis to the host's sums.
func (h *Host) Add(z *Zone) {
	i := slices.IndexFunc(h.Sources, func(s HostSource) bool { return s.Source == z.Source })
	if i < 0 {
		i = len(h.Sources)
		h.Sources = append(h.Sources, HostSource{Source: z.Source, Created: z.Created})
	}
	of := &h.Sources[i]
	if z.Created.Before(of.Created) {
		of.Created = z.Created
	}
	of.Energy += z.Total
	of.Power += z.Power
	h.Energy += z.Total
	h.Power += z.Power
	if !z.Missing {
		of.Live, h.Source = true, z.Source
	}
}
