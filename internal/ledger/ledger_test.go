package ledger

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// Invariant 1: Σ rows == Σ zones in integers, whatever comes.
func TestConservation(t *testing.T) {
	const ticks = 350_000 // of each policy: a million in all
	for _, policy := range []Policy{Shared, Reserved, None} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			soak(t, policy, ticks)
		})
	}
}

// soak drives a ledger through random ticks: consumers appear and vanish, zones give nothing, little or
// very much, or fail for a while, and machines come and go.
func soak(t *testing.T, policy Policy, ticks int) {
	rng := rand.New(rand.NewPCG(1, uint64(len(policy))))
	domains := []int{0, 0, 1, AllDomains}
	l := New(policy, domains, 8)
	in := make([]energy.Microjoules, len(domains))
	var open []Slot
	var machines []Machine
	before := map[Slot][]uint64{}
	for tick := range ticks {
		if len(open) < 30 && rng.IntN(3) == 0 {
			s := l.Open()
			open = append(open, s)
			if rng.IntN(4) == 0 {
				machines = append(machines, Machine{s, rng.IntN(4)})
			}
		}
		for i := range open {
			if rng.IntN(3) > 0 {
				l.Charge(open[i], []uint64{rng.Uint64N(1 << rng.UintN(40)), rng.Uint64N(1 << rng.UintN(20))})
			}
		}
		if rng.IntN(5) == 0 {
			l.Charge(Unseen, []uint64{rng.Uint64N(1e9), 0})
		}
		l.SetMachines(machines)
		for z := range domains {
			if rng.IntN(10) == 0 {
				continue // unreadable: settled by the weights of both ticks, later
			}
			var e energy.Microjoules
			switch rng.IntN(6) {
			case 0:
			case 1:
				e = energy.Microjoules(rng.Uint64N(5))
			case 2:
				e = energy.Microjoules(rng.Uint64N(1 << 44)) // huge: months in one tick
			default:
				e = energy.Microjoules(rng.Uint64N(1e9))
			}
			idlePart := energy.Microjoules(rng.Uint64N(uint64(e) + 2))
			l.Settle(z, e, idlePart, time.Second)
			in[z] += e
			if l.Total(z) != in[z] {
				t.Fatalf("tick %d: zone %d counts %d µJ, gave %d", tick, z, l.Total(z), in[z])
			}
		}
		if err := l.Audit(); err != 0 {
			t.Fatalf("tick %d: rows differ from zones by %d µJ", tick, err)
		}
		if tick%64 == 0 {
			checkMonotonic(t, l, before)
		}
		if len(open) > 0 && rng.IntN(4) == 0 {
			i := rng.IntN(len(open))
			s := open[i]
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
			into := Ended
			for j := range machines {
				if machines[j].Slot == s {
					machines = append(machines[:j:j], machines[j+1:]...)
					into = RetiredVMs
					break
				}
			}
			l.SetMachines(machines)
			l.Close(s, into)
			delete(before, s)
		}
	}
}

// checkMonotonic holds every part of every row against what it was.
func checkMonotonic(t *testing.T, l *Ledger, before map[Slot][]uint64) {
	t.Helper()
	for s := Slot(0); int(s) < len(l.cells)/len(l.zones); s++ {
		var now []uint64
		for z := range l.zones {
			c := l.cell(s, z)
			now = append(now, c.energy[active], c.energy[idle])
		}
		for i, was := range before[s] {
			if now[i] < was {
				t.Fatalf("row %d, value %d fell from %d to %d µJ", s, i, was, now[i])
			}
		}
		before[s] = now
	}
}

// What rounding costs a consumer does not grow with the number of rounds: with 1 µJ among three each
// time, everybody has a third of it in the end, to within 2 µJ.
func TestRemaindersAreCarried(t *testing.T) {
	l := New(None, []int{0}, 1)
	slots := []Slot{l.Open(), l.Open(), l.Open()}
	const rounds = 300_001
	for range rounds {
		for _, s := range slots {
			l.Charge(s, []uint64{7})
		}
		l.Settle(0, 1, 0, time.Second)
	}
	for _, s := range slots {
		a, _ := l.Energy(s, 0)
		if a < rounds/3-2 || a > rounds/3+2 {
			t.Errorf("row %d holds %d µJ of %d, want a third", s, a, rounds)
		}
	}
}

// The exact share of random unequal consumers is met to a few µJ after many rounds.
func TestCarryIsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	l := New(None, []int{0}, 1)
	slots := make([]Slot, 50)
	exact := make([]float64, len(slots))
	for i := range slots {
		slots[i] = l.Open()
	}
	for range 20_000 {
		e := rng.Uint64N(1000)
		weights := make([]uint64, len(slots))
		var total uint64
		for i := range slots {
			weights[i] = rng.Uint64N(1000)
			total += weights[i]
			l.Charge(slots[i], weights[i:i+1])
		}
		for i := range slots {
			exact[i] += float64(e) * float64(weights[i]) / float64(total)
		}
		l.Settle(0, energy.Microjoules(e), 0, time.Second)
	}
	for i, s := range slots {
		a, _ := l.Energy(s, 0)
		if diff := float64(a) - exact[i]; diff > 3 || diff < -3 {
			t.Errorf("row %d: %d µJ, exactly %.3f: rounding was not carried", s, a, exact[i])
		}
	}
}

func TestPolicies(t *testing.T) {
	type row struct{ active, idle energy.Microjoules }
	for _, tc := range []struct {
		policy Policy
		want   map[string]row
	}{
		{Shared, map[string]row{"vm": {45, 30}, "process": {15, 10}, "idle": {}, "unreserved": {}}},
		{Reserved, map[string]row{"vm": {45, 10}, "process": {15, 0}, "idle": {}, "unreserved": {0, 30}}},
		{None, map[string]row{"vm": {45, 0}, "process": {15, 0}, "idle": {0, 40}, "unreserved": {}}},
	} {
		t.Run(string(tc.policy), func(t *testing.T) {
			l := New(tc.policy, []int{0}, 8)
			vm, process := l.Open(), l.Open()
			l.SetMachines([]Machine{{vm, 2}})
			l.Charge(vm, []uint64{3e9})
			l.Charge(process, []uint64{1e9})
			l.Settle(0, 100, 40, time.Second)
			for name, s := range map[string]Slot{"vm": vm, "process": process, "idle": Idle, "unreserved": Unreserved} {
				a, i := l.Energy(s, 0)
				if (row{a, i}) != tc.want[name] {
					t.Errorf("%s: active %d, idle %d µJ; want %+v", name, a, i, tc.want[name])
				}
			}
		})
	}
}

func TestNobodyRan(t *testing.T) {
	for _, policy := range []Policy{Shared, None} {
		l := New(policy, []int{0}, 2)
		l.Settle(0, 100, 10, time.Second)
		if a, i := l.Energy(Idle, 0); a != 0 || i != 100 {
			t.Errorf("%s: row idle holds %d + %d µJ, want 0 + 100", policy, a, i)
		}
	}
}

// A VM on one package pays nothing for the other.
func TestDomains(t *testing.T) {
	l := New(Shared, []int{0, 1}, 2)
	left, right := l.Open(), l.Open()
	l.Charge(left, []uint64{5, 0})
	l.Charge(right, []uint64{0, 1})
	l.Settle(0, 1000, 0, time.Second)
	l.Settle(1, 30, 0, time.Second)
	if a, _ := l.Energy(left, 1); a != 0 {
		t.Errorf("left pays %d µJ for the right package", a)
	}
	if a, _ := l.Energy(left, 0); a != 1000 {
		t.Errorf("left has %d µJ of its package, want all 1000", a)
	}
	if a, _ := l.Energy(right, 1); a != 30 {
		t.Errorf("right has %d µJ of its package, want all 30", a)
	}
}

// A zone that failed for two ticks is split by the CPU time of all three.
func TestUnreadableZoneIsSettledLater(t *testing.T) {
	l := New(Shared, []int{0}, 1)
	early, late := l.Open(), l.Open()
	l.Charge(early, []uint64{100})
	l.Charge(early, []uint64{100})
	l.Close(early, Ended) // it ended while the zone could not be read
	l.Charge(late, []uint64{200})
	l.Settle(0, 400, 0, time.Second)
	if a, _ := l.Energy(Ended, 0); a != 200 {
		t.Errorf("ended processes hold %d µJ, want 200", a)
	}
	if a, _ := l.Energy(late, 0); a != 200 {
		t.Errorf("late holds %d µJ, want 200", a)
	}
}

// A running machine moves at every settlement, even at no load, and what it gets is somebody's.
func TestRunningMachineMoves(t *testing.T) {
	l := New(None, []int{0}, 4)
	vms := []Machine{{l.Open(), 1}, {l.Open(), 1}}
	busy := l.Open()
	l.SetMachines(vms)
	for range 10 {
		l.Charge(busy, []uint64{1e9})
		l.Settle(0, 50, 20, time.Second)
	}
	for _, m := range vms {
		if _, i := l.Energy(m.Slot, 0); i != 10 {
			t.Errorf("idle machine holds %d µJ after 10 settlements, want 10", i)
		}
	}
	if err := l.Audit(); err != 0 {
		t.Errorf("audit: %d µJ", err)
	}
}

func TestPowerIsOfTheLastSettlement(t *testing.T) {
	l := New(Shared, []int{0}, 1)
	s := l.Open()
	l.Charge(s, []uint64{1})
	l.Settle(0, 5*energy.Joule, 0, 2*time.Second)
	if p := l.Power(s, 0); p != 2.5 {
		t.Errorf("power %v, want 2.5 W", p)
	}
	l.Settle(0, energy.Joule, 0, time.Second)
	if p := l.Power(s, 0); p != 0 {
		t.Errorf("power %v after a settlement without CPU time, want 0", p)
	}
	l.Charge(s, []uint64{1000})
	l.Settle(0, energy.Joule, 0, time.Second)
	held, _ := l.Energy(s, 0)
	l.Quiet(0)
	if p := l.Power(s, 0); p != 0 {
		t.Errorf("power %v of a quiet zone, want 0", p)
	}
	if now, _ := l.Energy(s, 0); now != held || l.Audit() != 0 {
		t.Errorf("it holds %v of a quiet zone, want %v; error %d", now, held, l.Audit())
	}
}

// A zone that covers two domains is split by the time in both, from when it does and as long as it does.
func TestCover(t *testing.T) {
	l := New(None, []int{0, 1}, 8)
	a, b := l.Open(), l.Open()
	settle := func() (x, y energy.Microjoules) {
		l.Charge(a, []uint64{1000, 0})
		l.Charge(b, []uint64{0, 3000})
		beforeA, _ := l.Energy(a, 0)
		beforeB, _ := l.Energy(b, 0)
		l.Settle(0, 4000, 0, time.Second)
		x, _ = l.Energy(a, 0)
		y, _ = l.Energy(b, 0)
		return x - beforeA, y - beforeB
	}
	for _, c := range []struct {
		domains []int
		a, b    energy.Microjoules
	}{{[]int{0}, 4000, 0}, {[]int{0, 1}, 1000, 3000}, {[]int{0}, 4000, 0}} {
		l.Cover(0, c.domains)
		if x, y := settle(); x != c.a || y != c.b {
			t.Errorf("domains %v: %d and %d µJ, want %d and %d", c.domains, x, y, c.a, c.b)
		}
	}
}

func TestFloor(t *testing.T) {
	var f Floor
	// Unknown: by the busy ratio.
	if got := f.Split(100, time.Second, 25, 100); got != 75 {
		t.Errorf("unknown floor, 25 %% busy: %d of 100 idle, want 75", got)
	}
	// A quiet window of 11 s at 10 W teaches it.
	for range 11 {
		f.Learn(10*energy.Joule, time.Second, 1, 100)
	}
	for range 30 { // busy windows teach nothing, though their power be low
		f.Learn(5*energy.Joule, time.Second, 50, 100)
	}
	if f.Watts < 9 || f.Watts > 10 {
		t.Errorf("learned %v, want about 10 W", f.Watts)
	}
	if got := f.Split(100*energy.Joule, time.Second, 90, 100); got > 10*energy.Joule || got < 9*energy.Joule {
		t.Errorf("idle part %v of 100 J, want the floor's", got)
	}
	if got := f.Split(3*energy.Joule, time.Second, 90, 100); got != 3*energy.Joule {
		t.Errorf("idle part %v, want no more than there is", got)
	}
	fixed := Floor{Watts: 20, Fixed: true}
	for range 30 {
		fixed.Learn(energy.Joule, time.Second, 0, 100)
	}
	if fixed.Watts != 20 {
		t.Errorf("a configured floor became %v", fixed.Watts)
	}
	// A window that is forgotten teaches nothing, though it was quiet and long.
	before := f.Watts
	for range 30 {
		f.Learn(energy.Joule, 9*time.Second, 1, 100)
		f.Forget()
	}
	if f.Watts != before {
		t.Errorf("forgotten windows made the floor %v, want %v", f.Watts, before)
	}
}

// A steady state does not allocate.
func TestNoAllocation(t *testing.T) {
	l := New(Shared, []int{0, 0, 1}, 8)
	slots := make([]Slot, 200)
	for i := range slots {
		slots[i] = l.Open()
	}
	round := func() {
		for i, s := range slots {
			l.Charge(s, []uint64{uint64(i * 1000), 1})
		}
		for z := range 3 {
			l.Settle(z, 12_345_678, 2_345_678, time.Second)
		}
	}
	round()
	if n := testing.AllocsPerRun(100, round); n > 0 {
		t.Errorf("%v allocations in a round", n)
	}
}

func BenchmarkSettle1000(b *testing.B) {
	l := New(Shared, []int{0, 0}, 8)
	slots := make([]Slot, 1000)
	for i := range slots {
		slots[i] = l.Open()
	}
	b.ReportAllocs()
	for b.Loop() {
		for i, s := range slots {
			l.Charge(s, []uint64{uint64(i*1000 + 1)})
		}
		l.Settle(0, 50_000_000, 20_000_000, time.Second)
		l.Settle(1, 5_000_000, 2_000_000, time.Second)
	}
}

// Those who are owed most come first, however many are asked for, in whatever order the shares are, with
// many of one key too.
func TestSelectOwed(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		shares := make([]share, random.IntN(60))
		keys := 1 + random.Int64N(60)
		for i := range shares {
			shares[i] = share{slot: Slot(i), key: random.Int64N(keys) - keys/2}
		}
		random.Shuffle(len(shares), func(i, j int) { shares[i], shares[j] = shares[j], shares[i] })
		want := slices.Clone(shares)
		slices.SortFunc(want, func(a, b share) int { return cmp.Or(cmp.Compare(b.key, a.key), cmp.Compare(a.slot, b.slot)) })
		n := random.IntN(len(shares) + 1)
		selectOwed(shares, n)
		slots := func(all []share) (slots []Slot) {
			for i := range all {
				slots = append(slots, all[i].slot)
			}
			slices.Sort(slots)
			return slots
		}
		if got := slots(shares[:n]); !slices.Equal(got, slots(want[:n])) {
			t.Fatalf("%d of %d: %v, want %v", n, len(shares), got, slots(want[:n]))
		}
		if all := slots(shares); !slices.Equal(all, slots(want)) {
			t.Fatalf("shares were lost: %v", all)
		}
	}
}
