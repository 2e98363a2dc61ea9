package vfs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/energy"
)

// A look is all that changes in a VM's directory.
type look struct {
	energy  [2]uint64 // package, dram
	power   float64
	updated int64
}

func lookAt(t *testing.T, dir string) (l look) {
	t.Helper()
	number := func(name string) uint64 {
		v, err := strconv.ParseUint(strings.TrimSpace(readFile(t, dir, name)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	l.energy = [2]uint64{number("intel-rapl:0/energy_uj"), number("intel-rapl:0:1/energy_uj")}
	l.updated = int64(number("scaph/updated_ns"))
	var err error
	if l.power, err = strconv.ParseFloat(strings.TrimSpace(readFile(t, dir, "scaph/power_watts")), 64); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "intel-rapl:0", "intel-rapl:0/energy_uj", "intel-rapl:0/name", "scaph/power_watts", "scaph/uuid"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Fatal(err)
		}
		if st.Mtim.Nano() != l.updated || st.Ctim.Nano() != l.updated || st.Atim.Nano() != l.updated {
			t.Errorf("%s: times %d, %d, %d, published at %d", name, st.Mtim.Nano(), st.Ctim.Nano(), st.Atim.Nano(), l.updated)
		}
	}
	return l
}

// TestUntrustedThroughEverything reads a VM's directory at each tick, as its tenant would, while the VM leaves and
// returns, the process is replaced, the configuration is loaded again and the profile changes. Whatever happens, what
// can be read moves no more often than the profile's interval, and by its quantum.
func TestUntrustedThroughEverything(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	memory := shm(t)
	path := filepath.Join(t.TempDir(), "tree")
	tree := NewTree("test", 0)
	s, err := Mount(tree, options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	var end func()
	begin := func() {
		ctx, cancel := context.WithCancel(context.Background())
		served, serving := make(chan error, 1), s
		go func() { served <- serving.Serve(ctx) }()
		end = func() {
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	}
	newPublisher := func() *Publisher {
		p := NewPublisher(random.Float64)
		if err := p.Keep(memory); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := newPublisher()
	begin()
	t.Cleanup(func() {
		end()
		if err := errors.Join(s.Unmount(), p.memory.close()); err != nil {
			t.Error(err)
		}
	})

	untrusted, off, trusted := profile(t, "untrusted"), profile(t, "off"), profile(t, "trusted")
	off.Interval = trusted.Interval
	policy := untrusted
	r := Reading{UUID: testUUID(1), Name: "web", Running: true}
	now := testTime
	var shown look
	var happened string
	values, trustedFor := 0, 0
	for tick := range 1500 {
		now = now.Add(time.Second + time.Duration(random.IntN(20e6)-10e6))
		if random.IntN(3) > 0 {
			r.Energy[energy.Package] += energy.Microjoules(random.Int64N(30e6)) >> random.IntN(20)
			r.Energy[energy.DRAM] += energy.Microjoules(random.Int64N(3e6)) >> random.IntN(20)
		}
		there := true
		switch event := random.IntN(20); {
		case tick == 0:
		case event < 4:
			there, happened = false, "the VM left"
		case event == 4:
			happened = "a reload"
			if err := p.memory.close(); err != nil {
				t.Fatal(err)
			}
			p = newPublisher()
		case event == 5:
			happened = "another process"
			end()
			if err := p.memory.close(); err != nil {
				t.Fatal(err)
			}
			p, tree = newPublisher(), NewTree("test", 0)
			next, err := Resume(tree, Handover{Device: dup(t, s.device.file), State: s.Handover().State}, options(t, path))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = next
			begin()
		case event == 6:
			policy, happened = off, "profile off"
		case event == 7:
			policy, happened = trusted, "profile trusted"
		case event < 12 && policy != untrusted:
			policy, happened = untrusted, "profile untrusted"
		}
		r.Policy = policy
		readings := []Reading{r}[:map[bool]int{true: 1}[there]]
		vms, due := p.Publish(now, readings)
		if due {
			if err := p.Remember(); err != nil {
				t.Fatal(err)
			}
			publish(t, tree, Update{At: now, Kinds: energy.KindsOf(energy.Package, energy.Core, energy.DRAM), Source: energy.SourcePowercap, VMs: vms})
		}
		if tick == 0 {
			prime(t, path)
		}
		if !there || policy.Off {
			continue
		}
		got := lookAt(t, filepath.Join(path, "web"))
		if got == shown {
			continue
		}
		if policy == trusted {
			trustedFor++
		}
		if tick > 0 && policy == untrusted {
			values++
			if gap := time.Duration(got.updated - shown.updated); gap < 9500*time.Millisecond {
				t.Fatalf("tick %d: %+v, then %+v after %v (last: %s)", tick, shown, got, gap, happened)
			}
			moved := uint64(0)
			for k, value := range got.energy {
				if value < shown.energy[k] || (value%1e6 != 0 && value != shown.energy[k] && value != shown.energy[k]+1) {
					t.Fatalf("tick %d: zone %d from %d to %d (last: %s)", tick, k, shown.energy[k], value, happened)
				}
				moved += value - shown.energy[k]
			}
			want := fmt.Sprintf("%.2f", float64(energy.Microjoules(moved).Per(time.Duration(got.updated-shown.updated))))
			if power := fmt.Sprintf("%.2f", got.power); power != want {
				t.Fatalf("tick %d: %s W is not what the counters say, %s W (last: %s)", tick, power, want, happened)
			}
		}
		shown = got
	}
	if values < 50 || trustedFor < 20 {
		t.Errorf("%d values seen as untrusted, %d as trusted: too few to tell anything", values, trustedFor)
	}
}
