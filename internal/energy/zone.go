package energy

import (
	"strconv"
	"strings"
	"time"
)

// Kind says what part of the machine a zone's counter covers.
type Kind uint8

// The kinds that powercap knows, and that consumers can be charged for. A package contains its cores
// and its uncore; DRAM stands beside the package; Psys (the platform) contains all.
const (
	Package Kind = iota
	Core
	Uncore
	DRAM
	Psys
	Kinds = iota // how many can be charged for, and be in a KindSet
)

// The kinds that are shown only. They overlap with the others in ways that nothing tells.
const (
	Platform Kind = Kinds + iota // the whole box, as a meter at its inlet sees it
	Device                       // a part: a graphics card, a supply rail
	allKinds = Kinds + iota
)

var kindNames = [allKinds]string{"package", "core", "uncore", "dram", "psys", "platform", "device"}

// String returns the kind as it stands in the label zone="…".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind-" + strconv.Itoa(int(k))
}

// Known reports whether there is such a kind.
func (k Kind) Known() bool { return k < allKinds }

// A Split says by what a zone's energy is divided among consumers.
type Split uint8

// The ways.
const (
	ByCPU     Split = iota // by CPU time
	ByNothing              // it is shown, and charged to nobody
)

// String returns the way as it stands in the label split="…": cpu, nothing.
func (s Split) String() string {
	if s == ByCPU {
		return "cpu"
	}
	return "nothing"
}

// Sources of an energy value, as they stand in the label source="…".
const (
	SourcePowercap = "powercap" // counted by the hardware, read from powercap
	SourceEstimate = "estimate" // computed from CPU utilisation; no hardware counter behind it
	SourceHwmon    = "hwmon"    // counted by a device, or integrated from the power that it shows, read from class/hwmon
)

// A Zone is one energy counter of a sensor.
type Zone struct {
	Path    string      // unique among the sensors: its powercap id, "intel-rapl:0:1", or "hwmon:" and its device
	Name    string      // as the kernel names it: "package-0", "package-0-die-1", "dram", "amdgpu PPT"
	Kind    Kind        // what it covers
	Package int         // physical package id (the socket); -1 for psys and what belongs to no socket
	Die     int         // die id within the package, -1 where zones are per package
	Parent  string      // Path of the containing zone, "" at the top
	Range   Microjoules // max_energy_range_uj: the largest value before the counter wraps to 0
	Unit    uint64      // nJ by which the counter's modulus is above Range: one step of its register; 0 if it has none
	Source  string      // SourcePowercap, SourceEstimate or SourceHwmon
	Split   Split       // what divides its energy among consumers

	// Integrated says that the sensor computes the counter from readings of power: it begins at 0 with the
	// sensor, and its readings have a Bound.
	Integrated bool
}

// A Reading is what one attempt to read a zone's counter gave: the counter's raw value,
// which wraps at the zone's Range, or why it could not be read.
type Reading struct {
	Energy Microjoules
	Err    error

	Age   time.Duration // for how long the counter has had this value, where it is not read anew each time; else 0
	Bound Microjoules   // by how much Energy may be off, which grows with it; 0 unless the zone is Integrated
}

// ParseName takes a kernel zone name apart: "package-1-die-0" is (Package, 1, 0, true).
// Names without numbers (core, uncore, dram, psys) give -1 for both; an unknown name gives ok false.
// The grammar is that of rapl_package_register_powercap in drivers/powercap/intel_rapl_common.c.
func ParseName(name string) (kind Kind, pkg, die int, ok bool) {
	switch name {
	case "core":
		return Core, -1, -1, true
	case "uncore":
		return Uncore, -1, -1, true
	case "dram":
		return DRAM, -1, -1, true
	case "psys":
		return Psys, -1, -1, true
	}
	rest, found := strings.CutPrefix(name, "package-")
	if !found {
		return 0, -1, -1, false
	}
	pkgText, dieText, hasDie := strings.Cut(rest, "-die-")
	pkg, err := strconv.Atoi(pkgText)
	if err != nil || pkg < 0 {
		return 0, -1, -1, false
	}
	die = -1
	if hasDie {
		die, err = strconv.Atoi(dieText)
		if err != nil || die < 0 {
			return 0, -1, -1, false
		}
	}
	return Package, pkg, die, true
}
