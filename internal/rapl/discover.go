package rapl

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/scaph/scaph/internal/energy"
)

// The one control type whose zones count.
const controlType = "intel-rapl"

// A LeftOut is a zone directory that does not count, and why.
type LeftOut struct {
	Path string // powercap id: "intel-rapl:0:3"
	Why  string
}

// A discovery is what one walk over a tree found.
type discovery struct {
	zones    []*zone // in the order of Zones
	leftOut  []LeftOut
	dangling bool // there are links to zones, or to the control type, that lead nowhere

	counted  bool            // the tree is one that our host serves: counted in µJ, with no register behind it
	nameless map[string]bool // ids of directories that have no file name; not those where it cannot be read
}

// discover walks the tree below dir. It fails only if dir itself cannot be listed.
func discover(files files, dir string) (discovery, error) {
	names, err := files.list(dir)
	if err != nil {
		return discovery{}, err
	}
	found := discovery{nameless: make(map[string]bool), counted: slices.Contains(names, "scaph")}
	dirs := make(map[string]string) // zone id to the directory it was first seen at
	found.walk(files, dir, controlType, names, dirs)
	if slices.Contains(names, controlType) {
		found.enter(files, filepath.Join(dir, controlType), controlType, dirs)
	}
	found.place(files, dirs)
	return found, nil
}

// walk adds the zones below prefix that are among names, the entries of dir, and what is inside them.
// Only entries that continue the id of their directory are entered: the links device and subsystem
// lead upwards and are left alone, and a link that turns round is a dead end.
func (d *discovery) walk(files files, dir, prefix string, names []string, dirs map[string]string) {
	for _, id := range names {
		if !isZone(id) || !strings.HasPrefix(id, prefix+":") || dirs[id] != "" {
			continue
		}
		if path := filepath.Join(dir, id); d.enter(files, path, id, dirs) {
			dirs[id] = path
		}
	}
}

// enter walks through the directory of the zone or control type id, and says whether there is one. What
// cannot be listed now may still be read.
func (d *discovery) enter(files files, path, id string, dirs map[string]string) bool {
	names, err := files.list(path)
	if errors.Is(err, fs.ErrNotExist) {
		d.dangling = true
		return false
	}
	if err == nil && !slices.Contains(names, "name") {
		d.nameless[id] = true
	}
	d.walk(files, path, id, names, dirs)
	return true
}

// place gives every found directory its meaning, parents before their children.
func (d *discovery) place(files files, dirs map[string]string) {
	ids := make([]string, 0, len(dirs))
	for id := range dirs {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, ":"), strings.Count(b, ":")), cmp.Compare(a, b))
	})

	names, ranges := make(map[string]line, len(ids)), make(map[string]line, len(ids))
	terminated := false // this tree ends its lines, so one that does not end is cut off
	nameless := true    // no zone at the top has a name: a tree of indices only
	for _, id := range ids {
		name := readLine(files, filepath.Join(dirs[id], "name"))
		limit := readLine(files, filepath.Join(dirs[id], "max_energy_range_uj"))
		names[id], ranges[id] = name, limit
		terminated = terminated || name.terminated || limit.terminated
		nameless = nameless && (parentOf(id) != "" || d.nameless[id])
	}

	placed := make(map[string]*zone, len(ids))
	for _, id := range ids {
		name := names[id]
		named := name.err == nil
		switch {
		case !named && nameless && parentOf(id) == "":
			name.text = "package-" + strconv.FormatUint(indexOf(id), 10)
		case !named:
			d.leave(id, fmt.Sprintf("its name cannot be read: %v", name.err))
			continue
		case terminated && !name.terminated:
			d.leave(id, "its name is cut off: "+quote([]byte(name.text)))
			continue
		}
		z, why := placeZone(id, name.text, placed[parentOf(id)])
		if why != "" {
			d.leave(id, why)
			continue
		}
		if limit := ranges[id]; limit.err == nil && limit.terminated == terminated {
			z.Range, _, _ = parseMicrojoules([]byte(limit.text)) // 0, "not known", if it is no number
			if !d.counted {
				z.Unit = Unit(z.Range)
			}
		}
		z.dir, z.named, z.fd = dirs[id], named, -1
		placed[id] = z
		d.zones = append(d.zones, z)
	}
	sortZones(d.zones)
}

func (d *discovery) leave(id, why string) { d.leftOut = append(d.leftOut, LeftOut{Path: id, Why: why}) }

// placeZone makes the zone of an id, a name and the zone around it (nil at the top), or says why there is none.
func placeZone(id, name string, parent *zone) (z *zone, why string) {
	kind, pkg, die, ok := energy.ParseName(name)
	switch {
	case !ok:
		return nil, "its name is not a known one: " + quote([]byte(name))
	case parent == nil && parentOf(id) != "":
		return nil, "the zone around it, " + parentOf(id) + ", does not count"
	case parent == nil && kind != energy.Package && kind != energy.Psys:
		return nil, name + " outside a package: nothing says which package it belongs to"
	case parent != nil && (kind == energy.Package || kind == energy.Psys):
		return nil, name + " inside " + parent.Name + " would count twice"
	}
	z = &zone{Zone: energy.Zone{
		Path: id, Name: name, Kind: kind, Package: pkg, Die: die, Source: energy.SourcePowercap,
	}}
	if parent != nil {
		z.Parent, z.Package, z.Die = parent.Path, parent.Package, parent.Die
	}
	return z, ""
}

func sortZones(zones []*zone) {
	slices.SortFunc(zones, func(a, b *zone) int {
		return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Die, b.Die),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path))
	})
}

// isZone says whether name is the id of a zone of our control type: intel-rapl, then at least one
// index of 1 to 8 hexadecimal digits (the kernel prints an int with %x), each after a colon.
func isZone(name string) bool {
	rest, ok := strings.CutPrefix(name, controlType+":")
	if !ok {
		return false
	}
	for index := range strings.SplitSeq(rest, ":") {
		if len(index) == 0 || len(index) > 8 || strings.Trim(index, "0123456789abcdef") != "" {
			return false
		}
	}
	return true
}

// parentOf gives the id of the zone around a zone, "" at the top.
func parentOf(id string) string {
	if parent := id[:strings.LastIndexByte(id, ':')]; parent != controlType {
		return parent
	}
	return ""
}

// indexOf gives a zone's index at its own depth.
func indexOf(id string) uint64 {
	n, _ := strconv.ParseUint(id[strings.LastIndexByte(id, ':')+1:], 16, 32) // isZone has checked it
	return n
}
