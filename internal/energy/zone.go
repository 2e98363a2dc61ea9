package energy

import (
	"strconv"
	"strings"
)

// Kind says what part of the machine a zone's counter covers.
type Kind uint8

// The kinds that powercap knows. A package contains its cores and its uncore; DRAM
// stands beside the package; Psys (the platform) contains all.
const (
	Package Kind = iota
	Core
	Uncore
	DRAM
	Psys
	Kinds = iota // how many there are
)

var kindNames = [Kinds]string{"package", "core", "uncore", "dram", "psys"}

// String gives the kind as it stands in the label zone="…": package, core, uncore, dram, psys.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind-" + strconv.Itoa(int(k))
}

// Sources of an energy value, as they stand in the label source="…".
const (
	SourcePowercap = "powercap" // counted by the hardware, read from powercap
	SourceEstimate = "estimate" // computed from CPU utilisation; no hardware counter behind it
)

// A Zone is one energy counter of a sensor.
type Zone struct {
	Path    string      // its powercap id, unique within the sensor: "intel-rapl:0:1"
	Name    string      // as the kernel names it: "package-0", "package-0-die-1", "dram"
	Kind    Kind        // what it covers
	Package int         // physical package id (the socket); -1 for psys
	Die     int         // die id within the package, -1 where zones are per package
	Parent  string      // Path of the containing zone, "" at the top
	Range   Microjoules // max_energy_range_uj: the largest value before the counter wraps to 0
	Unit    uint64      // nJ by which the counter's modulus is above Range: one step of its register; 0 if it has none
	Source  string      // SourcePowercap or SourceEstimate
}

// A Reading is what one attempt to read a zone's counter gave: the counter's raw value,
// which wraps at the zone's Range, or why it could not be read.
type Reading struct {
	Energy Microjoules
	Err    error
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
