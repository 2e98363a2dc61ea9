package meter

import (
	"slices"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/snapshot"
)

// Every zone is split among all, whether it is of the basis or not. So what is shown by kind of zone (VMs, what nobody
// is charged for) goes on whatever the basis is. What is shown as one sum over the zones of the basis, the energy of a
// process, of the host, and of the meter that a VM reads, would become another sum when the basis changes between package
// and psys, and could fall.
//
// So where a state was kept under the other basis, what was shown then becomes the beginning under this one: the rows
// of processes get the difference in zones of the basis, and the row Rebased the opposite, so that the sum of each
// zone's rows stays what the zone gave; the host and the meters of VMs get a shift.

// changeBasis goes on from what was shown under the other basis.
func (m *Meter) changeBasis() {
	m.rebase(ledger.Ended)
	for _, s := range m.series {
		m.rebase(s.slot)
	}
	m.rebaseMeters()
	m.rebaseHost()
}

// rebase has a row of processes hold in the zones of this basis what it held in those of the other.
func (m *Meter) rebase(s ledger.Slot) {
	e := m.energiesOf(s)
	shown, held := e.In(energy.Basis(!m.Psys)), e.In(energy.Basis(m.Psys))
	for _, z := range m.zones {
		if !z.basis {
			continue
		}
		if shown >= held {
			m.ledger.Add(s, z.index, shown-held, 0)
			m.ledger.Add(ledger.Rebased, z.index, held-shown, 0) // modulo 2^64
			return
		}
		active, idle := m.ledger.Energy(s, z.index)
		active = min(active, held-shown)
		idle = min(idle, held-shown-active)
		m.ledger.Move(s, ledger.Rebased, z.index, active, idle)
		held -= active + idle
	}
}

// meterKind is the kind of zone that a VM sees as its package.
func meterKind(psys bool) energy.Kind {
	if psys {
		return energy.Psys
	}
	return energy.Package
}

// rebaseMeters has the meter of each VM, be it gone, go on where it was.
func (m *Meter) rebaseMeters() {
	shifts := make(map[string]energy.Microjoules)
	shift := func(uuid string) {
		e := m.charged(uuid)
		shown := e.Of(meterKind(!m.Psys)) + m.meters[uuid]
		shifts[uuid] = shown - e.Of(meterKind(m.Psys)) // modulo 2^64
	}
	for uuid := range m.machines.byUUID {
		shift(uuid)
	}
	for uuid := range m.machines.retired {
		shift(uuid)
	}
	m.meters = shifts
}

// charged sums what a VM was ever charged.
func (m *Meter) charged(uuid string) snapshot.Energies {
	a := m.machines.byUUID[uuid]
	if a == nil {
		return m.pastOf(uuid)
	}
	sum := m.formerly(a)
	sum.Add(m.energiesOf(a.series.slot))
	return sum
}

// rebaseHost has the host's counters go on where they were.
func (m *Meter) rebaseHost() {
	shown := m.hostSources(!m.Psys)
	m.shifts = nil
	for _, held := range m.hostSources(m.Psys) {
		held.Energy = -held.Energy // modulo 2^64
		m.shifts = append(m.shifts, held)
	}
	for _, was := range shown {
		i := slices.IndexFunc(m.shifts, func(s snapshot.HostSource) bool { return s.Source == was.Source })
		if i < 0 {
			m.shifts = append(m.shifts, was)
			continue
		}
		m.shifts[i].Energy += was.Energy
		if was.Created.Before(m.shifts[i].Created) {
			m.shifts[i].Created = was.Created
		}
	}
	for i := range m.shifts {
		m.shifts[i].Live = false
	}
}

// hostSources sums the zones of a basis by source, with what was shown under another.
func (m *Meter) hostSources(psys bool) []snapshot.HostSource {
	h := snapshot.Host{Sources: slices.Clone(m.shifts)}
	for _, z := range m.zones {
		if energy.Basis(psys).Has(z.Kind) {
			h.Add(&snapshot.Zone{Zone: z.Zone, Created: z.created, Total: m.ledger.Total(z.index)})
		}
	}
	return h.Sources
}

// encodeBasis writes under which basis the state is kept, and what is shown because of others before.
func (m *Meter) encodeBasis(e *encoder) {
	e.bool(m.Psys)
	e.uint(uint64(len(m.shifts)))
	for _, s := range m.shifts {
		e.string(s.Source)
		e.uint(uint64(s.Energy))
		e.time(s.Created)
	}
	e.uint(uint64(len(m.meters)))
	for uuid, shift := range m.meters {
		e.string(uuid)
		e.uint(uint64(shift))
	}
}

// A savedBasis is what encodeBasis wrote.
type savedBasis struct {
	known  bool // version 2 does not tell, and is taken to be of this basis
	psys   bool
	shifts []snapshot.HostSource
	meters map[string]energy.Microjoules
}

func (d *decoder) basis() savedBasis {
	b := savedBasis{known: true, psys: d.bool(), meters: make(map[string]energy.Microjoules)}
	for range d.count() {
		b.shifts = append(b.shifts, snapshot.HostSource{Source: d.string(), Energy: energy.Microjoules(d.uint()), Created: d.time()})
	}
	for range d.count() {
		uuid := d.string()
		b.meters[uuid] = energy.Microjoules(d.uint())
	}
	return b
}

// restoreBasis is called when all rows are restored.
func (m *Meter) restoreBasis(b *savedBasis) {
	m.shifts, m.meters = b.shifts, b.meters
	if b.known && b.psys != m.Psys {
		m.changeBasis()
	}
}
