package vfs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// Policies of the profiles trusted, untrusted and off.
func profile(t testing.TB, name string) Policy {
	t.Helper()
	switch name {
	case "trusted":
		return Policy{Interval: time.Second, Quantum: energy.Millijoule}
	case "untrusted":
		return Policy{Interval: 10 * time.Second, Jitter: 2 * time.Second, Quantum: energy.Joule}
	case "off":
		return Policy{Off: true}
	}
	t.Fatalf("no profile %q", name)
	return Policy{}
}

func reading(policy Policy, e energy.Microjoules) Reading {
	r := Reading{UUID: testUUID(1), Name: "web", Running: true, Policy: policy}
	for k := range r.Energy {
		r.Energy[k] = e
	}
	return r
}

// TestTenantLearnsNoMoreThanTheProfile measures what a tenant can learn, against what is promised of the
// profiles: how often a value changes, and by which steps.
func TestTenantLearnsNoMoreThanTheProfile(t *testing.T) {
	for _, c := range []struct {
		profile  string
		interval time.Duration // shortest between two values
		quantum  energy.Microjoules
	}{
		{"trusted", 950 * time.Millisecond, energy.Millijoule},
		{"untrusted", 9500 * time.Millisecond, energy.Joule},
	} {
		t.Run(c.profile, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			p := NewPublisher(random.Float64)
			policy := profile(t, c.profile)
			now, ledger := testTime, energy.Microjoules(123456)
			base := ledger
			var last, previousGap time.Duration
			var shown energy.Microjoules
			gaps := make(map[time.Duration]bool)
			for tick := range 20000 { // every 10 ms to 110 ms, 20 minutes
				now = now.Add(10*time.Millisecond + time.Duration(random.IntN(int(100*time.Millisecond))))
				switch tick / 1000 % 3 { // busy, almost idle, idle
				case 0:
					ledger += energy.Microjoules(random.IntN(5e6))
				case 1:
					ledger += energy.Microjoules(random.IntN(300))
				case 2:
					ledger++
				}
				vms, due := p.Publish(now, []Reading{reading(policy, ledger)})
				value := vms[0].Energy[energy.Package]
				if tick == 0 {
					base, shown, last = value, value, now.Sub(testTime)
					continue
				}
				if !due {
					if value != shown {
						t.Fatal("a value changed without being due")
					}
					continue
				}
				at := now.Sub(testTime)
				if at-last < c.interval {
					t.Fatalf("two values within %v", at-last)
				}
				if at-last != previousGap {
					gaps[(at - last).Round(time.Second)] = true
				}
				previousGap, last = at-last, at
				step := value - shown
				if step != 1 && (value-base)%c.quantum != 0 {
					t.Fatalf("step of %d µJ to %d, which tells more than the quantum %d", step, value, c.quantum)
				}
				if value > ledger || (value < shown) || step == 0 {
					t.Fatalf("ledger %d, shown %d then %d", ledger, shown, value)
				}
				shown = value
			}
			// What is rounded off is not lost: two intervals on, an idle VM is shown to within a quantum.
			for range 2 {
				now = now.Add(policy.Interval + policy.Jitter)
				ledger++
				vms, _ := p.Publish(now, []Reading{reading(policy, ledger)})
				shown = vms[0].Energy[energy.Package]
			}
			if ledger-shown >= c.quantum {
				t.Errorf("the carry is lost: ledger %d, shown %d", ledger, shown)
			}
			if c.profile == "untrusted" && len(gaps) < 3 {
				t.Errorf("no jitter: gaps of %v only", gaps)
			}
		})
	}
}

// TestWrapAndRestore restarts the process over and over, each time with the ledger that was saved before the last
// publish or later, and compares what a tenant reads: it never decreases, and is never a quantum above the ledger.
// The profile changes as long as what was shown is remembered.
func TestWrapAndRestore(t *testing.T) {
	for _, remembers := range []bool{true, false} {
		t.Run(fmt.Sprintf("remembers=%v", remembers), func(t *testing.T) { wrapAndRestore(t, remembers) })
	}
}

func wrapAndRestore(t *testing.T, remembers bool) {
	random := rand.New(rand.NewPCG(3, 4))
	dir := shm(t)
	now, ledger := testTime, EnergyRange-50*energy.Joule
	var shown, first, wrapped, sum energy.Microjoules
	for run := range 200 {
		p := NewPublisher(random.Float64)
		policy := profile(t, "untrusted")
		if remembers {
			policy = profile(t, []string{"trusted", "untrusted"}[random.IntN(2)])
			if err := p.Keep(dir); err != nil {
				t.Fatal(err)
			}
		}
		for range 1 + random.IntN(20) {
			now = now.Add(time.Duration(random.IntN(int(2 * time.Second))))
			ledger += 1 + energy.Microjoules(random.Int64N(int64(50*energy.Joule)))>>random.IntN(30)
			if random.IntN(20) == 0 {
				ledger += EnergyRange - energy.Joule // most of a wrap in one tick
			}
			vms, _ := p.Publish(now, []Reading{reading(policy, ledger)})
			if err := p.Remember(); err != nil {
				t.Fatal(err)
			}
			value := vms[0].Energy[energy.DRAM]
			if run == 0 && first == 0 {
				first, shown, wrapped = value, value, value%EnergyRange
			}
			if value < shown || value >= ledger+energy.Joule {
				t.Fatalf("shown %d then %d, ledger %d", shown, value, ledger)
			}
			// As a reader of powercap computes it.
			w := value % EnergyRange
			if w >= wrapped {
				sum += w - wrapped
			} else {
				sum += EnergyRange - wrapped + w
			}
			if delta := value - shown; delta >= EnergyRange {
				sum += delta / EnergyRange * EnergyRange // no reader can see these
			}
			shown, wrapped = value, w
		}
		if err := p.memory.close(); err != nil {
			t.Fatal(err)
		}
	}
	if sum != shown-first {
		t.Errorf("a reader counts %d over the wraps, published were %d", sum, shown-first)
	}
}

// TestLostLedger has the ledger start anew, while what was shown is remembered: the tenant sees no fall, and at once what
// it uses from then on.
func TestLostLedger(t *testing.T) {
	p := NewPublisher(func() float64 { return 0 })
	policy := profile(t, "trusted")
	at := func(second int, ledger energy.Microjoules) energy.Microjoules {
		vms, _ := p.Publish(testTime.Add(time.Duration(second)*time.Second), []Reading{reading(policy, ledger)})
		return vms[0].Energy[energy.Package]
	}
	for i, c := range []struct{ ledger, want energy.Microjoules }{
		{5e9, 5e9}, {5e9 + 3e6, 5e9 + 3e6}, {2e6, 5e9 + 3e6}, {4e6, 5e9 + 5e6}, {1e6, 5e9 + 5e6}, {7e6, 5e9 + 11e6},
	} {
		if got := at(i, c.ledger); got != c.want {
			t.Errorf("ledger %d: shown %d, want %d", c.ledger, got, c.want)
		}
	}
}

// TestZeroLoadCounterMoves runs a VM that uses 1 µJ per tick, below any quantum.
func TestZeroLoadCounterMoves(t *testing.T) {
	p := NewPublisher(func() float64 { return 0 })
	policy := profile(t, "trusted")
	var last energy.Microjoules
	for i := range 100 {
		vms, due := p.Publish(testTime.Add(time.Duration(i)*time.Second), []Reading{reading(policy, energy.Microjoules(1000+i))})
		value := vms[0].Energy[energy.Package]
		if !due || (i > 0 && value != last+1) {
			t.Fatalf("publish %d: due %v, %d after %d", i, due, value, last)
		}
		last = value
	}
	// A stopped VM's counter stands still.
	r := reading(policy, 5000)
	r.Running = false
	r.Energy[energy.Package] = last
	vms, _ := p.Publish(testTime.Add(200*time.Second), []Reading{r})
	if vms[0].Energy[energy.Package] != last {
		t.Errorf("stopped VM moved from %d to %d", last, vms[0].Energy[energy.Package])
	}
}

func TestPublisherChanges(t *testing.T) {
	p := NewPublisher(func() float64 { return 0 })
	trusted := profile(t, "trusted")
	at := func(d time.Duration, rs ...Reading) ([]VM, bool) { return p.Publish(testTime.Add(d), rs) }

	if vms, due := at(0); !due || len(vms) != 0 {
		t.Errorf("no VMs, which is to be shown: %v, %v", vms, due)
	}
	if vms, due := at(0); due || len(vms) != 0 {
		t.Errorf("still none: %v, %v", vms, due)
	}
	if vms, due := at(0, reading(trusted, 5)); !due || vms[0].Energy[energy.Package] != 1000 {
		t.Errorf("new VM: %v, %v", vms, due)
	}
	if _, due := at(100*time.Millisecond, reading(trusted, 5000000)); due {
		t.Error("published before the interval was over")
	}
	renamed := reading(trusted, 5000000)
	renamed.Name = "shop"
	if vms, due := at(200*time.Millisecond, renamed); !due || vms[0].Name != "shop" || vms[0].Energy[energy.Package] != 1000 {
		t.Errorf("renamed, which publishes no new value: %v, %v", vms, due)
	}
	renamed.Policy = profile(t, "off")
	if vms, due := at(300*time.Millisecond, renamed); !due || !vms[0].Off {
		t.Errorf("switched off: %v, %v", vms, due)
	}
	if vms, due := at(400*time.Millisecond, reading(trusted, 4)); !due || vms[0].Energy[energy.Package] < 5 {
		t.Errorf("a ledger that went back: %v, %v", vms, due)
	}
	if _, due := at(-time.Hour, reading(trusted, 6e6)); !due {
		t.Error("clock set back: nothing published for an hour")
	}
	vms, _ := at(10*time.Second, reading(trusted, 1e6+5), reading(trusted, 77))
	if len(vms) != 1 || vms[0].Energy[energy.Package] < 1e6 {
		t.Errorf("same UUID twice: %v", vms)
	}
	if vms, due := at(11 * time.Second); !due || len(vms) != 0 {
		t.Errorf("gone: %v, %v", vms, due)
	}
	if _, due := at(12 * time.Second); due {
		t.Error("still gone, and due")
	}
	if vms, due := at(12*time.Second, reading(trusted, 2e6)); !due || len(vms) != 1 {
		t.Errorf("back: %v, %v", vms, due)
	}
	other := reading(trusted, 1)
	other.UUID = testUUID(2)
	if vms, due := at(12*time.Second, other); !due || vms[0].UUID != other.UUID {
		t.Errorf("one left, another came: %v, %v", vms, due)
	}
}

func TestPublishedPower(t *testing.T) {
	p := NewPublisher(func() float64 { return 0 })
	policy := profile(t, "trusted")
	p.Publish(testTime, []Reading{reading(policy, 0)})
	vms, _ := p.Publish(testTime.Add(2*time.Second), []Reading{reading(policy, 30*energy.Joule)})
	// Package and dram; core and uncore are parts of the package.
	if vms[0].Power != 30 {
		t.Errorf("%v, want 30 W", vms[0].Power)
	}
}

// BenchmarkPublish is what a tick costs the tree at most: each VM has used something, and all are due.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{5, 500} {
		b.Run(fmt.Sprintf("vms=%d", n), func(b *testing.B) {
			p := NewPublisher(rand.Float64)
			if err := p.Keep(shm(b)); err != nil {
				b.Fatal(err)
			}
			tree := NewTree("bench", 0)
			readings := make([]Reading, n)
			for i, vm := range testVMs(n) {
				readings[i] = reading(profile(b, "trusted"), 0)
				readings[i].UUID, readings[i].Name = vm.UUID, vm.Name
			}
			now := testTime
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Second)
				for i := range readings {
					readings[i].Energy[energy.Package] += 12345678
				}
				vms, due := p.Publish(now, readings)
				if !due {
					b.Fatal("nothing to publish")
				}
				if err := p.Remember(); err != nil {
					b.Fatal(err)
				}
				if err := tree.Publish(Update{At: now, VMs: vms}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/vm")
		})
	}
}

// shm returns a directory in memory, as /run is.
func shm(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "scaph")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
