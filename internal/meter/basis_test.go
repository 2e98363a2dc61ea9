package meter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
)

// newWorldWithPlatform makes a world that has a platform zone too, which gives less than its parts: real ones do, for a while.
func newWorldWithPlatform() *world {
	w := newWorld()
	w.zones = append(w.zones, energy.Zone{
		Path: "intel-rapl:1", Name: "psys", Kind: energy.Psys, Package: -1, Die: -1, Range: testRange, Source: energy.SourcePowercap,
	})
	w.counters, w.given = append(w.counters, 7), append(w.given, 0)
	w.vms = vmmap.NewMap([]vmmap.VM{aVM}, "")
	w.totals[qemu], w.totals[shell], w.totals[other] = 0, 0, 0
	w.comms[shell], w.comms[other] = "sh", "other"
	return w
}

// on starts a meter with a basis, and one series for processes, so that there is always a rest.
func (w *world) on(t *testing.T, psys bool) *Meter {
	t.Helper()
	o := w.options()
	o.Psys, o.Listed = psys, 1
	m, err := New(o, w.kept, w.ahead)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// counters gives all that a Snapshot shows under names that do not depend on the basis.
func countersOf(s *snapshot.Snapshot, psys bool) map[string]energy.Microjoules {
	all := map[string]energy.Microjoules{"rest": s.Rest.In(energy.Basis(psys)), "host": s.Host.Energy}
	for _, h := range s.Host.Sources {
		all["host "+h.Source] = h.Energy
	}
	for _, z := range s.Zones {
		all["zone "+z.Path] = z.Total
	}
	for i := range s.VMs {
		vm := &s.VMs[i]
		for k := range vm.Energy {
			all[fmt.Sprint("vm ", vm.Name, k)] = vm.Energy.Of(energy.Kind(k))
		}
		k := energy.Package // as the tree does
		if psys {
			k = energy.Psys
		}
		all["meter "+vm.Name] = vm.Before.Of(k) + vm.Energy.Of(k)
	}
	for _, p := range s.Series {
		all["process "+p.Comm] = p.Energy
	}
	for _, u := range s.Unattributed {
		all["unattributed "+u.Kind.String()+u.Reason] = u.Energy
	}
	return all
}

// ofBasis holds a Snapshot against the identity, for the kinds of the basis.
func ofBasis(t *testing.T, s *snapshot.Snapshot, psys bool) {
	t.Helper()
	if want := energy.Basis(psys).Intersect(s.Kinds()); s.Basis != want || want == 0 {
		t.Errorf("the kinds %v count, want %v", s.Basis, want)
	}
	var in, out energy.Microjoules
	for _, z := range s.Zones {
		if z.Attributed != energy.Basis(psys).Has(z.Kind) {
			t.Errorf("zone %s: attributed %v", z.Path, z.Attributed)
		}
		if z.Attributed {
			in += z.Total
		}
	}
	for i := range s.VMs {
		out += s.VMs[i].Energy.In(energy.Basis(psys))
	}
	for _, p := range s.Series {
		out += p.Energy
	}
	for _, u := range s.Unattributed {
		out += u.Energy
	}
	for k, e := range s.Rebased {
		if energy.Basis(psys).Has(energy.Kind(k)) {
			out += energy.Microjoules(e)
		}
	}
	out += s.Rest.In(energy.Basis(psys)) + s.Retired.VMs.In(energy.Basis(psys)) + s.Retired.Processes.In(energy.Basis(psys))
	if in != out || s.LedgerError != 0 {
		t.Errorf("tick %d: zones gave %d µJ, accounts hold %d; ledger error %d", s.Seq, in, out, s.LedgerError)
	}
}

// Whatever the basis changes to, over restarts and reboots, nothing falls, nothing jumps, and all adds up.
func TestBasisChanges(t *testing.T) {
	counted := false
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 7))
		w := newWorldWithPlatform()
		psys := false
		m := w.on(t, psys)
		m.Tick()
		last := countersOf(m.Latest(), psys)
		for range 40 {
			for range 15 { // until series count
				w.pass(time.Second, []energy.Watts{40, 15, 5, energy.Watts(20 + rng.IntN(60))},
					use(qemu, time.Second, shell, time.Duration(rng.IntN(2000))*time.Millisecond, other, time.Second))
				before := m.Latest()
				m.Tick()
				s := m.Latest()
				ofBasis(t, s, psys)
				now := countersOf(s, psys)
				counted = counted || now["process other"]+now["process sh"] > 0
				for name, value := range now {
					if value < last[name] {
						t.Fatalf("seed %d, tick %d: %s fell from %d to %d µJ", seed, s.Seq, name, last[name], value)
					}
					last[name] = value
				}
				if before != nil { // not the first tick of a run, which has a gap to charge
					grown := s.Host.Energy - before.Host.Energy
					if parts := increases(before, s, psys); parts != grown {
						t.Fatalf("seed %d, tick %d: the host gained %d µJ, its parts %d", seed, s.Seq, grown, parts)
					}
				}
			}
			rebooted := rng.IntN(4) == 0
			if rebooted { // the series of processes are retired then
				w.bootID += "x"
				delete(last, "process sh")
				delete(last, "process other")
			}
			psys = rng.IntN(2) == 0
			m = w.on(t, psys)
			m.Tick()
			s := m.Latest()
			ofBasis(t, s, psys)
			for name, value := range countersOf(s, psys) {
				was, shown := last[name]
				if shown && (name == "host" || name == "rest" || name[:4] == "mete") && value != was {
					t.Fatalf("seed %d: %s went from %d to %d µJ with the basis, while no time passed", seed, name, was, value)
				}
				if value < was {
					t.Fatalf("seed %d: %s fell from %d to %d µJ", seed, name, was, value)
				}
				last[name] = value
			}
		}
	}
	if !counted {
		t.Error("no process ever had a series that counted")
	}
}

// increases sums what all parts gained between two Snapshots of one run.
func increases(before, after *snapshot.Snapshot, psys bool) energy.Microjoules {
	sum := func(s *snapshot.Snapshot) (e energy.Microjoules) {
		for name, value := range countersOf(s, psys) {
			switch name[:4] {
			case "rest", "proc", "unat":
				e += value
			}
		}
		for i := range s.VMs {
			e += s.VMs[i].Energy.In(energy.Basis(psys))
		}
		return e
	}
	return sum(after) - sum(before)
}
