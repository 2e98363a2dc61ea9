package meter

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/snapshot"
)

// The series of VMs: when they begin and end. A VM has an account by its UUID, and a series by UUID and name.
// The series begins with the VM. When the VM has another name, what the old series has shown stays with it,
// and the new one begins at 0; the VM's own meter (the tree) shows the sum, and so goes on.

const (
	// goneAfter is how long a series is shown after its VM is gone, or has another name. It is longer than
	// two intervals of any sensible scraper.
	goneAfter = 15 * time.Minute
	// maxRetired bounds for how many VMs retired series are remembered, should they return;
	// maxRetiredOrdinary does so for those that only ordinary users' command lines told of, so that
	// they never cost another VM its total.
	maxRetired         = 10_000
	maxRetiredOrdinary = 500
	// maxNames bounds how many retired series of one VM are remembered: a user can name his as he likes.
	maxNames = 8
)

// A vmSeries is what is shown of a VM under one name.
type vmSeries struct {
	uuid, name string // as the labels show them
	machine    *machine
	slot       ledger.Slot
	cpu        uint64 // ns
	created    time.Time
	seen       time.Time // when its VM was last present and had this name

	ceilings   []ceiling
	cpuCeiling ceiling
}

// retired is what a series held when it was retired. It is part of the row RetiredVMs.
type retired struct {
	name     string
	rows     []row
	cpu      uint64
	created  time.Time
	at       time.Time
	ordinary bool // see vmmap.VM
}

// current says whether the series is that of the name that its VM has now.
func (s *vmSeries) current() bool { return s.machine.series == s }

// name gives the account of a VM the series of its present name: the one that is there, one that was retired, or
// a new one.
func (m *Meter) name(a *machine) {
	ms := &m.machines
	name := m.shown(a.Name)
	if a.series != nil && a.series.name == name {
		return
	}
	if a.series != nil {
		a.former = append(a.former, a.series)
	}
	if i := slices.IndexFunc(a.former, func(s *vmSeries) bool { return s.name == name }); i >= 0 {
		a.series = a.former[i]
		a.former = slices.Delete(a.former, i, i+1)
		return
	}
	s := &vmSeries{
		uuid: m.shown(a.UUID), name: name, machine: a,
		slot: m.ledger.Open(), created: m.Clock.Now(), ceilings: m.newCeilings(),
	}
	if all := ms.retired[a.UUID]; len(all) > 0 {
		if i := slices.IndexFunc(all, func(r retired) bool { return r.name == name }); i >= 0 {
			r := all[i]
			for z, e := range r.rows {
				m.ledger.Move(ledger.RetiredVMs, s.slot, m.zones[z].index, e[snapshot.Active], e[snapshot.Idle])
			}
			s.cpu, s.created = r.cpu, r.created
			ms.setRetired(a.UUID, slices.Delete(all, i, i+1))
			a.past = m.pastOf(a.UUID)
		}
	}
	a.series = s
	ms.series = append(ms.series, s)
	slices.SortFunc(ms.series, compareVMSeries)
}

func compareVMSeries(a, b *vmSeries) int {
	return cmp.Or(strings.Compare(a.uuid, b.uuid), strings.Compare(a.name, b.name))
}

// pastOf sums what the retired series of a VM held.
func (m *Meter) pastOf(uuid string) (sum snapshot.Energies) {
	for _, r := range m.machines.retired[uuid] {
		for z, e := range r.rows {
			for p := range e {
				sum[m.zones[z].Kind][p] += e[p]
			}
		}
	}
	return sum
}

// before is what a VM's meter begins with: what the VM was charged elsewhere, and the shift of a change of the basis.
func (m *Meter) before(a *machine) snapshot.Energies {
	sum := m.formerly(a)
	sum[meterKind(m.Psys)][snapshot.Active] += m.meters[a.UUID]
	return sum
}

// formerly sums what a VM was charged in other series than its present one.
func (m *Meter) formerly(a *machine) snapshot.Energies {
	sum := a.past
	for _, s := range a.former {
		sum.Add(m.energiesOf(s.slot))
	}
	return sum
}

// retire ends the series whose VMs have been gone, or have had another name, for long enough.
func (m *Meter) retire(now time.Time) {
	ms := &m.machines
	after := max(goneAfter, 2*m.ScrapeInterval)
	before := len(ms.series)
	ms.series = slices.DeleteFunc(ms.series, func(s *vmSeries) bool {
		present := s.current() && s.machine.present
		if present || now.Before(s.seen) { // or the wall clock was set back
			s.seen = now
		}
		// What any user can start leaves no series behind: he could start it again and again.
		if present || !s.machine.Ordinary && now.Sub(s.seen) < after {
			return false
		}
		ms.remember(s.machine.UUID, retired{
			name: s.name, rows: m.rowsOf(s.slot), cpu: s.cpu, created: s.created, at: now,
			ordinary: s.machine.Ordinary,
		})
		m.ledger.Close(s.slot, ledger.RetiredVMs)
		if a := s.machine; s.current() {
			delete(ms.byUUID, a.UUID)
		} else {
			a.former = slices.DeleteFunc(a.former, func(other *vmSeries) bool { return other == s })
			a.past = m.pastOf(a.UUID)
		}
		return true
	})
	if len(ms.series) != before {
		m.reorder()
		ms.forgetOldest(false, maxRetired)
		ms.forgetOldest(true, maxRetiredOrdinary)
	}
}

// remember keeps a retired series, and of too many of one VM the sum of the oldest: that of no name,
// which no VM has and so none goes on with.
func (ms *machines) remember(uuid string, r retired) {
	all := append(ms.retired[uuid], r)
	if len(all) > maxNames {
		sum := &all[0]
		sum.name = ""
		for z, e := range all[1].rows {
			for p := range e {
				sum.rows[z][p] += e[p]
			}
		}
		sum.cpu += all[1].cpu
		all = slices.Delete(all, 1, 2)
	}
	ms.retired[uuid] = all
}

func (ms *machines) setRetired(uuid string, all []retired) {
	if len(all) == 0 {
		delete(ms.retired, uuid)
		return
	}
	ms.retired[uuid] = all
}

// forgetOldest keeps the retired series of so many VMs that only ordinary users' command lines told
// of, or of the others.
func (ms *machines) forgetOldest(ordinary bool, most int) {
	for {
		count, oldest, at := 0, "", time.Time{}
		for uuid, all := range ms.retired {
			last := &all[len(all)-1]
			if last.ordinary != ordinary {
				continue
			}
			count++
			if oldest == "" || last.at.Before(at) {
				oldest, at = uuid, last.at
			}
		}
		if count <= most {
			return
		}
		delete(ms.retired, oldest)
	}
}
