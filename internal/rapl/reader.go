package rapl

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/energy"
)

// A Reader reads the counters of one powercap tree. It is used by one goroutine at a time.
type Reader struct {
	dir     string
	files   files
	roots   Roots
	log     *slog.Logger
	zones   []*zone
	leftOut []LeftOut
	buf     [maxValue]byte
}

// A zone is one counter and what is needed to read it again and again.
type zone struct {
	energy.Zone
	dir        string // where its files are
	named      bool   // its Name was read from a file, and is read again whenever the counter is opened
	fd         int    // energy_uj, -1 while it is not open
	terminated bool   // its value has been seen to end in a newline: one without is cut off
	last       energy.Microjoules
}

// An Option changes how Open works.
type Option func(*Reader)

// WithLogger sets where zones that do not count are reported, once each (default: slog.Default()).
func WithLogger(log *slog.Logger) Option { return func(r *Reader) { r.log = log } }

// WithRoots sets where a failure of Open is looked into (default: DefaultRoots).
func WithRoots(roots Roots) Option { return func(r *Reader) { r.roots = roots } }

// attempts is how often Open looks for zones while some have no readable name or range: a read that fails
// once must not cost a zone for the life of the Reader.
const attempts = 5

// Open finds the zones of the powercap tree at dir and opens their counters.
//
// A zone that cannot be read now is among the Zones all the same, and tried again at each Read. If
// not one can be read, the error is a *NoZonesError, which says why and what to do.
//
// Reading energy_uj takes CAP_DAC_READ_SEARCH or root since Linux 5.10.
func Open(dir string, options ...Option) (*Reader, error) {
	r := &Reader{dir: dir, files: system{}, roots: DefaultRoots(), log: slog.Default()}
	for _, option := range options {
		option(r)
	}
	var found discovery
	var err error
	for range attempts {
		if found, err = discover(r.files, dir); err != nil {
			continue
		}
		r.adopt(found)
		if len(found.leftOut) == 0 && !slices.ContainsFunc(r.zones, func(z *zone) bool { return z.Range == 0 }) {
			break
		}
	}
	readable := false
	for _, z := range r.zones {
		_, zoneErr := r.read(z)
		readable = readable || zoneErr == nil
		err = errors.Join(err, zoneErr)
	}
	if !readable {
		r.closeZones()
		return nil, diagnose(r.roots, dir, found, err)
	}
	return r, nil
}

// Zones gives the zones in the order of Read: by package, die, kind, and path. Psys, which belongs to
// no package, stands first.
//
// A Range of 0 means that the zone does not tell its range (no readable max_energy_range_uj): its
// counter is taken as one that never wraps, and Delta reports each fall of it as a Reset.
func (r *Reader) Zones() []energy.Zone {
	zones := make([]energy.Zone, len(r.zones))
	for i, z := range r.zones {
		zones[i] = z.Zone
	}
	return zones
}

// LeftOut gives the zones that the tree has but that do not count, ordered by path.
func (r *Reader) LeftOut() []LeftOut { return slices.Clone(r.leftOut) }

// Read reads every counter once into dst, one Reading for each of Zones; what does not fit
// is not read. A zone that fails has the error in its Reading and is opened anew at the
// next Read; the others go on. Where all is well, Read allocates nothing and costs one
// system call per zone.
func (r *Reader) Read(dst []energy.Reading) {
	for i, z := range r.zones[:min(len(dst), len(r.zones))] {
		value, err := r.read(z)
		if err != nil {
			err = fmt.Errorf("zone %s (%s): %w", z.Path, z.Name, err)
		}
		dst[i] = energy.Reading{Energy: value, Err: err}
	}
}

// Rescan looks at the tree again, for zones that were not there, or had no readable name or range, when it
// was last looked at, and tells whether Zones is different now. A zone that is
// gone stays, with errors at Read, so that it can come back (a module is loaded again, a package is
// set online); one that has another name now is replaced. It lists directories, so it is not for every tick.
func (r *Reader) Rescan() (changed bool, err error) {
	found, err := discover(r.files, r.dir)
	if err != nil {
		return false, fmt.Errorf("looking for zones in %s: %w", r.dir, err)
	}
	before := r.Zones()
	r.adopt(found)
	return !slices.Equal(before, r.Zones()), nil
}

// Close closes the counters. The Reader is of no use afterwards.
func (r *Reader) Close() error {
	r.closeZones()
	r.zones = nil
	return nil
}

func (r *Reader) closeZones() {
	for _, z := range r.zones {
		r.drop(z)
	}
}

// adopt merges what was found into what is known: a zone that is still the same keeps its descriptor.
func (r *Reader) adopt(found discovery) {
	zones := found.zones
	for _, old := range r.zones {
		i := slices.IndexFunc(zones, func(z *zone) bool { return z.Path == old.Path })
		switch {
		case i < 0:
			zones = append(zones, old)
		case zones[i].sameAs(old):
			if zones[i].Range != 0 {
				old.Range, old.Unit = zones[i].Range, zones[i].Unit
			}
			zones[i] = old
		default:
			r.drop(old)
		}
	}
	sortZones(zones)
	for _, z := range zones {
		if z.Range == 0 && !slices.Contains(r.zones, z) {
			r.log.Warn("RAPL zone does not tell its range: a wrap of it will count as a reset", "zone", z.Path, "dir", r.dir)
		}
	}
	r.zones = zones

	slices.SortFunc(found.leftOut, func(a, b LeftOut) int { return slices.Compare([]byte(a.Path), []byte(b.Path)) })
	for _, l := range found.leftOut {
		if !slices.Contains(r.leftOut, l) {
			r.log.Warn("RAPL zone does not count", "zone", l.Path, "dir", r.dir, "reason", l.Why)
		}
	}
	r.leftOut = found.leftOut
}

func (z *zone) sameAs(other *zone) bool {
	a, b := z.Zone, other.Zone
	a.Range, b.Range, a.Unit, b.Unit = 0, 0, 0, 0
	return a == b && z.dir == other.dir && z.named == other.named
}

// read reads one counter. After a failure the descriptor is dropped: the next read opens the file by its path.
func (r *Reader) read(z *zone) (energy.Microjoules, error) {
	held, last := z.fd >= 0, z.last
	value, err := r.readOnce(z)
	if !held {
		return value, err
	}
	// The descriptor may be out of date where the path is not.
	if err == nil && value == last && r.files.unlinked(z.fd) {
		r.drop(z) // an ordinary file that was replaced shows its last value for ever
		return r.readOnce(z)
	}
	if isGone(err) {
		return r.readOnce(z)
	}
	return value, err
}

func (r *Reader) readOnce(z *zone) (value energy.Microjoules, err error) {
	if z.fd < 0 {
		if err := r.open(z); err != nil {
			return 0, err
		}
	}
	n, err := r.files.pread(z.fd, r.buf[:])
	terminated := false
	if err == nil {
		value, terminated, err = parseMicrojoules(r.buf[:n])
	}
	if err == nil && z.terminated && !terminated {
		err = fmt.Errorf("it holds %s, cut off: there was a newline after earlier values", quote(r.buf[:n]))
	}
	if err != nil {
		r.drop(z)
		return 0, fmt.Errorf("read %s: %w", z.counter(), err)
	}
	z.terminated, z.last = terminated, value
	return value, nil
}

// open opens a zone's counter, and makes sure that the directory still stands for the same
// zone: when the driver is loaded again, its zones may be numbered otherwise.
func (r *Reader) open(z *zone) error {
	if z.named {
		path := filepath.Join(z.dir, "name")
		name := readLine(r.files, path)
		if name.err != nil {
			return fmt.Errorf("read %s: %w", path, name.err)
		}
		if name.text != z.Name {
			return fmt.Errorf("%s now says %s: it is another zone until the tree is scanned again", path, quote([]byte(name.text)))
		}
	}
	fd, err := r.files.open(z.counter())
	if err != nil {
		return fmt.Errorf("open %s: %w", z.counter(), err)
	}
	z.fd = fd
	return nil
}

func (r *Reader) drop(z *zone) {
	if z.fd >= 0 {
		r.files.close(z.fd)
		z.fd = -1
	}
}

func (z *zone) counter() string { return filepath.Join(z.dir, "energy_uj") }

// isGone says whether a held descriptor failed because what it named went away, which says nothing about
// what stands at the path now: ENODEV from sysfs when the driver was unloaded, or from
// a tree whose VM vanished; ESTALE from a shared file system; ENOTCONN from one whose server was started anew.
func isGone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENOTCONN)
}
