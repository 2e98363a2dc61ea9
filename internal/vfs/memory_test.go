package vfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// remembered publishes one VM once by a process that ends then.
func remembered(t *testing.T, dir string, at time.Time, ledger energy.Microjoules) energy.Microjoules {
	t.Helper()
	p := NewPublisher(func() float64 { return 0 })
	if err := p.Keep(dir); err != nil {
		t.Error(err)
	}
	vms, _ := p.Publish(at, []Reading{reading(profile(t, "trusted"), ledger)})
	if err := errors.Join(p.Remember(), p.memory.close()); err != nil {
		t.Fatal(err)
	}
	return vms[0].Energy[energy.Package]
}

// TestTornMemory cuts the file that was written last anywhere, as if the process had been killed there: the next
// goes on from the one before, which is what was shown. With both damaged it starts as if there was none, and says so.
func TestTornMemory(t *testing.T) {
	dir := shm(t)
	first := remembered(t, dir, testTime, 5e6)
	if again := remembered(t, dir, testTime.Add(time.Millisecond), 7e6); again != first {
		t.Fatalf("shown %d, then %d before it was due", first, again)
	}
	for turn := range uint64(2) { // which is 2 and 1
		path := (&memory{dir: dir}).path(turn)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(whole) {
			torn := append([]byte(nil), whole...)
			torn[n] ^= 0x40
			for _, b := range [][]byte{whole[:n], torn} {
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				p := NewPublisher(func() float64 { return 0 })
				if err := p.Keep(dir); err != nil {
					t.Fatalf("cut or damaged at %d: %v", n, err)
				}
				if vms, _ := p.Publish(testTime.Add(2*time.Millisecond), []Reading{reading(profile(t, "trusted"), 7e6)}); vms[0].Energy[energy.Package] != first {
					t.Fatalf("cut or damaged at %d: %v", n, vms)
				}
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for turn := range uint64(2) {
		if err := os.WriteFile((&memory{dir: dir}).path(turn), []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := NewPublisher(func() float64 { return 0 })
	if err := p.Keep(dir); !errors.Is(err, errMemory) {
		t.Errorf("both are garbage: %v", err)
	}
	if vms, _ := p.Publish(testTime, []Reading{reading(profile(t, "trusted"), 7e6+1)}); vms[0].Energy[energy.Package] != 7e6+1e3 {
		t.Errorf("%v", vms)
	}
}

// TestMemoryOnAFullDisk leaves no file that is not true any more.
func TestMemoryOnAFullDisk(t *testing.T) {
	dir := shm(t)
	remembered(t, dir, testTime, 5e6)
	full := filepath.Join(dir, "tree.0")
	_ = os.Remove(full)
	if err := os.Symlink("/dev/full", full); err != nil {
		t.Fatal(err)
	}
	p := NewPublisher(func() float64 { return 0 })
	p.memory.dir, p.memory.turn = dir, 1
	p.Publish(testTime, []Reading{reading(profile(t, "trusted"), 5e6)})
	if err := p.Remember(); err == nil {
		t.Error("no error")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := errors.Join(p.Remember(), p.memory.close()); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestMemoryMoves goes on in another directory, where something else of earlier times stands.
func TestMemoryMoves(t *testing.T) {
	from, to := shm(t), shm(t)
	remembered(t, to, testTime, 1e6)
	remembered(t, to, testTime, 1e6)
	remembered(t, to, testTime, 1e6)
	p := NewPublisher(func() float64 { return 0 })
	for _, dir := range []string{from, from, to} {
		if err := p.Keep(dir); err != nil {
			t.Fatal(err)
		}
		p.Publish(testTime, []Reading{reading(profile(t, "trusted"), 5e6)})
		if err := p.Remember(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.memory.close(); err != nil {
		t.Error(err)
	}
	if shown := remembered(t, to, testTime.Add(time.Millisecond), 9e6); shown != 5e6 {
		t.Errorf("the next process shows %d", shown)
	}
}

func FuzzMemory(f *testing.F) {
	p := NewPublisher(func() float64 { return 0 })
	p.Publish(testTime, []Reading{{UUID: testUUID(1)}, {UUID: testUUID(2)}})
	f.Add(p.appendMemory(nil))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if b, err := checkMemory(b); err == nil {
			decodeMemory(b[memoryHeader:])
		}
		decodeMemory(b)
	})
}
