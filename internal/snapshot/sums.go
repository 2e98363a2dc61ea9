package snapshot

import "slices"

// Add adds another's energies to these.
func (e *Energies) Add(other Energies) {
	for k := range e {
		for p := range e[k] {
			e[k][p] += other[k][p]
		}
	}
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
