package rapl

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/energy"
)

// faulty fails each operation with a given probability, in every way that reading files can fail.
type faulty struct {
	system
	rand        *rand.Rand
	probability float64
	faults      int
	open_       int // descriptors
}

func (f *faulty) fault() bool {
	if f.rand.Float64() >= f.probability {
		return false
	}
	f.faults++
	return true
}

func (f *faulty) errno() error {
	return []error{unix.EIO, unix.ENOENT, unix.EACCES}[f.rand.IntN(3)]
}

func (f *faulty) list(dir string) ([]string, error) {
	if f.fault() {
		return nil, f.errno()
	}
	return f.system.list(dir)
}

func (f *faulty) open(path string) (int, error) {
	if f.fault() {
		return -1, f.errno()
	}
	fd, err := f.system.open(path)
	if err == nil {
		f.open_++
	}
	return fd, err
}

func (f *faulty) close(fd int) {
	f.open_--
	f.system.close(fd)
}

func (f *faulty) pread(fd int, p []byte) (int, error) {
	n, err := f.system.pread(fd, p)
	if err != nil || !f.fault() {
		return n, err
	}
	switch f.rand.IntN(4) {
	case 0:
		return 0, f.errno()
	case 1:
		return 0, nil
	case 2:
		for i := range p { // garbage, never by chance a number
			p[i] = byte(f.rand.IntN(256)) | 0x80
		}
		return f.rand.IntN(len(p)) + 1, nil
	default:
		return f.rand.IntN(max(n-1, 1)), nil // cut off: the newline, and at least one byte more
	}
}

// A fifth of all operations fail, for 1000 reads: each failure is one Reading with an error, and every other
// Reading is right.
func TestEveryFaultIsCountedOnce(t *testing.T) {
	f := &faulty{rand: rand.New(rand.NewPCG(1, 2))}
	r := open(t, powercap(t, "intel-two-sockets"), func(r *Reader) { r.files = f })
	want := readings(r)
	f.probability = 0.2

	dst := make([]energy.Reading, len(want))
	errs, good := 0, 0
	for range 1000 {
		r.Read(dst)
		for i, got := range dst {
			switch {
			case got.Err != nil:
				errs++
			case got.Energy != want[i].Energy:
				t.Fatalf("zone %d reads %d, want %d", i, got.Energy, want[i].Energy)
			default:
				good++
			}
		}
	}
	if errs != f.faults || errs == 0 {
		t.Errorf("%d faults, %d errors", f.faults, errs)
	}
	t.Logf("%d faults, %d errors, %d good readings", f.faults, errs, good)
	must(t, r.Close())
	if f.open_ != 0 {
		t.Errorf("%d descriptors left open", f.open_)
	}
}

// Opening and looking again under faults finds fewer zones, never wrong ones, and heals without faults.
func TestDiscoveryUnderFaults(t *testing.T) {
	dir := powercap(t, "intel-two-sockets")
	healthy := open(t, dir).Zones()
	f := &faulty{rand: rand.New(rand.NewPCG(3, 4))}
	quiet := WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	opened, refused := 0, 0
	for range 300 {
		f.probability = 0.2
		r, err := Open(dir, quiet, func(r *Reader) { r.files = f })
		if err != nil {
			var none *NoZonesError
			if !errors.As(err, &none) || none.Remedy == "" {
				t.Fatalf("%T: %v", err, err)
			}
			refused++
			continue
		}
		opened++
		for range 5 {
			_, _ = r.Rescan()
			readings(r)
		}
		for _, z := range r.Zones() {
			known := false
			for _, h := range healthy {
				same := z
				same.Range, same.Unit = h.Range, h.Unit // not known yet
				known = known || same == h && (z.Range == 0 || z.Range == h.Range)
			}
			if !known {
				t.Fatalf("a zone that is not there: %+v", z)
			}
		}
		f.probability = 0
		_, err = r.Rescan()
		must(t, err)
		if got := r.Zones(); len(got) != len(healthy) {
			t.Errorf("healed, yet %d zones", len(got))
		}
		must(t, r.Close())
	}
	if f.open_ != 0 {
		t.Errorf("%d descriptors left open", f.open_)
	}
	t.Logf("opened %d, refused %d", opened, refused)
}
