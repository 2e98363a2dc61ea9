package rapl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/energy"
)

func TestReadFollowsTheFile(t *testing.T) {
	dir := powercap(t, "guest")
	r := open(t, dir)
	counter := filepath.Join(dir, "intel-rapl:0/energy_uj")
	for _, value := range []string{"7000124\n", "262143328849\n", "3\n"} {
		writeFile(t, counter, value)
		got := readings(r)[0]
		if got.Err != nil || fmt.Sprintln(uint64(got.Energy)) != value {
			t.Errorf("file %q, reading %+v", value, got)
		}
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	r := open(t, powercap(t, "intel-two-sockets"))
	dst := make([]energy.Reading, len(r.Zones()))
	if n := testing.AllocsPerRun(100, func() { r.Read(dst) }); n != 0 {
		t.Errorf("%v allocations in a Read", n)
	}
}

func TestReadFillsWhatFits(t *testing.T) {
	r := open(t, powercap(t, "intel-two-sockets"))
	r.Read(nil)
	dst := make([]energy.Reading, 7)
	r.Read(dst[:2])
	if dst[1].Energy == 0 || dst[2].Energy != 0 {
		t.Errorf("%+v", dst)
	}
	r.Read(dst)
	if dst[4].Energy == 0 || dst[5].Energy != 0 {
		t.Errorf("%+v", dst)
	}
}

func TestOneBadZoneLeavesTheOthers(t *testing.T) {
	dir := powercap(t, "intel-two-sockets")
	counter := filepath.Join(dir, "intel-rapl:0/energy_uj")
	r := open(t, dir)
	for content, part := range map[string]string{
		"":                          "is empty",
		"1\x1b[2J\n":                `"1\x1b[2J\n"`,
		strings.Repeat("1", 5000):   `"11111111111111111111111111111111"…`,
		"18446744073709551616\n":    "more than 64 bits",
		"22810034":                  "cut off",
		"262143328850\x00\x00\x00":  "want a number",
		"-228100345811\n":           "want a number",
		"228100345811\n228100345\n": "want a number",
	} {
		writeFile(t, counter, content)
		got := readings(r)
		if err := got[1].Err; err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), counter) ||
			!strings.Contains(err.Error(), "intel-rapl:0 (package-0)") || len(err.Error()) > len(counter)+256 {
			t.Errorf("%.40q: %v", content, err)
		}
		for i := range got {
			if i != 1 && got[i].Err != nil {
				t.Errorf("zone %d fails with it: %v", i, got[i].Err)
			}
		}
		writeFile(t, counter, "228100345812\n")
		if got := readings(r)[1]; got.Err != nil || got.Energy != 228100345812 {
			t.Errorf("after %.40q: %+v", content, got)
		}
	}
}

// A zone that cannot be read at the start is one of the zones all the same.
func TestZoneComesLater(t *testing.T) {
	dir := powercap(t, "guest")
	counter := filepath.Join(dir, "intel-rapl:0/energy_uj")
	must(t, os.Rename(counter, counter+".away"))
	r := open(t, dir)
	if err := readings(r)[0].Err; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want that it does not exist", err)
	}
	must(t, os.Rename(counter+".away", counter))
	if got := readings(r)[0]; got.Err != nil || got.Energy != 7000123 {
		t.Errorf("%+v", got)
	}
}

// Trees made of ordinary files may be updated by renaming.
func TestFileIsReplaced(t *testing.T) {
	dir := powercap(t, "guest")
	counter := filepath.Join(dir, "intel-rapl:0/energy_uj")
	r := open(t, dir)
	for i := range 3 {
		writeFile(t, counter+".new", fmt.Sprintln(8000000+i))
		must(t, os.Rename(counter+".new", counter))
		if got := readings(r)[0]; got.Err != nil || got.Energy != energy.Microjoules(8000000+i) {
			t.Errorf("%+v", got)
		}
	}
}

// gone makes the descriptors that are open at a moment fail with an error from then on.
type gone struct {
	system
	old map[int]error
}

func (g *gone) pread(fd int, p []byte) (int, error) {
	if err := g.old[fd]; err != nil {
		return 0, err
	}
	return g.system.pread(fd, p)
}

func (g *gone) close(fd int) {
	delete(g.old, fd)
	g.system.close(fd)
}

func TestDriverIsLoadedAgain(t *testing.T) {
	for _, cause := range []error{unix.ENODEV, unix.ESTALE, unix.ENOTCONN} {
		t.Run(cause.Error(), func(t *testing.T) {
			dir := powercap(t, "intel-desktop")
			g := &gone{old: map[int]error{}}
			r := open(t, dir, func(r *Reader) { r.files = g })
			for _, z := range r.zones {
				g.old[z.fd] = cause
			}
			for i, got := range readings(r) {
				if got.Err != nil {
					t.Errorf("%s: %v", r.Zones()[i].Path, got.Err)
				}
			}
		})
	}
}

// With the driver loaded again, psys and the package may have changed places.
func TestZonesAreRenumbered(t *testing.T) {
	dir := powercap(t, "intel-desktop")
	g := &gone{old: map[int]error{}}
	r := open(t, dir, func(r *Reader) { r.files = g })
	swap := func(a, b string) {
		writeFile(t, filepath.Join(dir, "intel-rapl:0/name"), a)
		writeFile(t, filepath.Join(dir, "intel-rapl:1/name"), b)
	}
	swap("psys\n", "package-0\n")
	for _, z := range r.zones {
		g.old[z.fd] = unix.ENODEV
	}
	got := readings(r)
	if got[0].Err == nil || got[1].Err == nil {
		t.Errorf("a counter is taken for another one's: %+v", got)
	}
	if changed, err := r.Rescan(); err != nil || !changed {
		t.Errorf("changed %v, %v", changed, err)
	}
	for i, z := range r.Zones() {
		if (z.Name == "psys") != (z.Path == "intel-rapl:0") {
			t.Errorf("%+v", z)
		}
		if got := readings(r)[i]; got.Err != nil {
			t.Errorf("%s: %v", z.Path, got.Err)
		}
	}
}

func TestRescan(t *testing.T) {
	dir := powercap(t, "guest")
	dram := filepath.Join(dir, "intel-rapl:0/intel-rapl:0:1")
	must(t, os.Rename(dram, filepath.Join(dir, "away")))
	limit := filepath.Join(dir, "intel-rapl:0/max_energy_range_uj")
	must(t, os.Rename(limit, limit+".away"))
	r := open(t, dir)
	if zones := r.Zones(); len(zones) != 2 || zones[0].Range != 0 || zones[1].Range == 0 {
		t.Fatalf("%+v", zones)
	}
	if changed, err := r.Rescan(); changed || err != nil {
		t.Errorf("nothing changed: %v, %v", changed, err)
	}

	must(t, os.Rename(filepath.Join(dir, "away"), dram))
	must(t, os.Rename(limit+".away", limit))
	if changed, err := r.Rescan(); !changed || err != nil {
		t.Errorf("a zone came: %v, %v", changed, err)
	}
	if zones := r.Zones(); len(zones) != 3 || zones[0].Range == 0 || zones[2].Name != "dram" {
		t.Errorf("%+v", zones)
	}

	must(t, os.Rename(limit, limit+".away"))
	if changed, err := r.Rescan(); changed || err != nil || r.Zones()[0].Range == 0 {
		t.Errorf("a known range is forgotten: %v, %v", changed, err)
	}
	must(t, os.RemoveAll(dram))
	if changed, err := r.Rescan(); changed || err != nil {
		t.Errorf("a zone that went stays: %v, %v", changed, err)
	}
	if got := readings(r); got[0].Err != nil || got[2].Err == nil {
		t.Errorf("%+v", got)
	}

	must(t, os.RemoveAll(dir))
	if _, err := r.Rescan(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no tree: %v", err)
	}
}

func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	for pkg := range 4 {
		zone := filepath.Join(dir, fmt.Sprintf("intel-rapl:%d", pkg))
		if err := errors.Join(os.Mkdir(zone, 0o755), os.WriteFile(filepath.Join(zone, "energy_uj"), []byte("262143328849\n"), 0o644)); err != nil {
			b.Fatal(err)
		}
	}
	r, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	dst := make([]energy.Reading, 4)
	b.ReportAllocs()
	for b.Loop() {
		r.Read(dst)
	}
}
