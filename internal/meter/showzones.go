package meter

import (
	"slices"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/snapshot"
)

func (m *Meter) showZones(s *snapshot.Snapshot) {
	s.Host.Sources = slices.Clone(m.shifts)
	for _, shift := range m.shifts {
		s.Host.Energy += shift.Energy
	}
	for i, z := range m.zones {
		shown := &s.Zones[i]
		*shown = snapshot.Zone{
			Zone: z.Zone, Total: m.ledger.Total(z.index), Power: z.power, Attributed: z.basis, Created: z.created,
			Failed: z.failed, Frozen: z.pace.frozen, Missing: z.reading == ghost,
			WrapSeconds: z.wrapSeconds(), Uncertain: z.uncertain, Resets: z.resets,
		}
		if z.mirror.of != nil {
			shown.Mirrors = z.mirror.of.Path
		}
		if z.basis {
			s.Host.Add(shown)
			active, idle := m.ledger.Energy(ledger.Rebased, z.index)
			s.Rebased[z.Kind] += int64(active + idle)
		}
		s.Simulated = s.Simulated || z.reading != ghost && z.Source == energy.SourceEstimate
	}
}
