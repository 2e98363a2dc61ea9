package meter

import (
	"slices"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
)

func (m *Meter) showZones(s *Snapshot) {
	s.Host.Sources = slices.Clone(m.shifts)
	for _, shift := range m.shifts {
		s.Host.Energy += shift.Energy
	}
	for i, z := range m.zones {
		shown := &s.Zones[i]
		*shown = Zone{
			Zone: z.Zone, Total: m.ledger.Total(z.index), Power: z.power, Attributed: z.basis, Created: z.created,
			Failed: z.failed, Frozen: z.pace.frozen, Missing: z.reading == ghost,
			WrapSeconds: z.wrapSeconds(), Uncertain: z.uncertain, Resets: z.resets,
		}
		if z.mirror.of != nil {
			shown.Mirrors = z.mirror.of.Path
		}
		if z.basis {
			s.Host.add(shown)
			active, idle := m.ledger.Energy(ledger.Rebased, z.index)
			s.Rebased[z.Kind] += int64(active + idle)
		}
		s.Simulated = s.Simulated || z.reading != ghost && z.Source == energy.SourceEstimate
	}
}

// add puts a zone of the basis to the host's sums.
func (h *Host) add(z *Zone) {
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
