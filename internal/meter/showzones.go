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
	for _, z := range m.zones {
		shown := z.show(s, m.ledger.Total(z.index))
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
	for _, z := range m.unsplit {
		z.show(s, z.total).Bound = z.bound
	}
}

// show adds the zone to a Snapshot.
func (z *zone) show(s *snapshot.Snapshot, total energy.Microjoules) *snapshot.Zone {
	s.Zones = append(s.Zones, snapshot.Zone{
		Zone: z.Zone, Total: total, Power: z.power, Attributed: z.basis, Created: z.created,
		Failed: z.failed, Frozen: z.pace.frozen, Missing: z.reading == ghost,
		WrapSeconds: z.wrapSeconds(), Uncertain: z.uncertain, Resets: z.resets,
	})
	return &s.Zones[len(s.Zones)-1]
}
