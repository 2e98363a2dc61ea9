package vfs

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/energy"
)

// A slot is the 55 bits that stand for a VM in node ids: a hash of its UUID. It needs no table that could be
// lost: any process gives a VM the slot that it had. Two VMs of 1,000 share one with probability
// 3e-11; Publish then refuses the second.
type slot uint64

// rootNode is what FUSE calls the top of the mount, FUSE_ROOT_ID.
const rootNode = 1

// slotOf hashes a UUID. Bit 54 is always set, so that a node id is never 0 or rootNode, and bit 55
// never, so that it is positive as a signed number too (directory offsets are).
func slotOf(uuid string) slot {
	sum := sha256.Sum256([]byte(uuid))
	return slot(binary.BigEndian.Uint64(sum[:])>>10 | 1<<54)
}

// node gives the node id, which is the inode number too, of a VM's file.
func (s slot) node(f file) uint64 { return uint64(s)<<8 | uint64(f) }

// split undoes node.
func split(node uint64) (slot, file) { return slot(node >> 8), file(node) }

// A file says which one of a VM's files it is. The numbers are part of node ids: a mount is handed
// over from one build of the program to another, so changing one means raising treeABI.
type file uint8

const (
	vmDir file = 0x00

	controlDir       file = 0x01 // intel-rapl, the control type
	controlEnabled   file = 0x02
	controlUevent    file = 0x03
	controlSubsystem file = 0x04

	scaphDir      file = 0x10
	scaphUUID     file = 0x11
	scaphVersion  file = 0x12
	scaphUpdated  file = 0x13
	scaphInterval file = 0x14
	scaphPower    file = 0x15
	scaphSource   file = 0x16

	zoneBase file = 0x40 // | kind<<4 | one of zoneDir…
)

// A zone's files, numbered by the zone's kind and not by its place, so that a held descriptor never
// turns from one counter into another.
const (
	zoneDir file = iota
	zoneName
	zoneEnergy
	zoneRange
	zoneEnabled
	zoneUevent
	zoneDevice
	zoneSubsystem
	zoneAlias // the flat symlink in the VM's directory
)

func zoneFile(k energy.Kind, f file) file { return zoneBase | file(k)<<4 | f }

// zonePart takes a zone's file apart; ok is false for the files that belong to no zone.
func zonePart(f file) (k energy.Kind, part file, ok bool) {
	if f < zoneBase {
		return 0, 0, false
	}
	return energy.Kind(f >> 4 & 3), f & 0xf, true
}

// isDir tells whether a file is a directory, whether the host has it or not.
func (f file) isDir() bool {
	_, part, zone := zonePart(f)
	return f == vmDir || f == controlDir || f == scaphDir || (zone && part == zoneDir)
}

// An inode is what all VMs' files of one number have in common.
type inode struct {
	name     string
	mode     uint32 // type and permissions, 0 where the host has no such file
	parent   file
	children []file // of a directory
	fixed    string // a symlink's target, or the content of a file that never changes
	value    bool   // the content comes from the VM's values
}

// A shape is the layout of every VM's directory. It depends only on the zones that the host has.
type shape struct {
	kinds  energy.KindSet
	inodes [256]inode
}

const (
	modeDir    = unix.S_IFDIR | 0o555
	modeFile   = unix.S_IFREG | 0o444
	modeSecret = unix.S_IFREG | 0o440 // as sysfs since Linux 5.10 (CVE-2020-8694): root, and here qemu's group
	modeLink   = unix.S_IFLNK | 0o777
)

// newShape lays out a VM's directory for the kinds of zone that the tree has. There is always one
// package; core, uncore and dram stand inside it, numbered in this order as far as they exist.
func newShape(kinds energy.KindSet) *shape {
	s := &shape{kinds: kinds}
	s.inodes[vmDir] = inode{mode: modeDir, parent: vmDir}
	s.add(vmDir, controlDir, inode{name: "intel-rapl", mode: modeDir})
	s.add(controlDir, controlEnabled, inode{name: "enabled", mode: modeFile, fixed: "1\n"})
	s.add(controlDir, controlUevent, inode{name: "uevent", mode: modeFile})
	s.add(controlDir, controlSubsystem, inode{name: "subsystem", mode: modeLink, fixed: ".."})

	s.addZone(controlDir, energy.Package, "intel-rapl:0", "package-0", "../../intel-rapl", "../..", "intel-rapl/intel-rapl:0")
	pkg := zoneFile(energy.Package, zoneDir)
	number := 0
	for k := range kinds.Without(energy.KindsOf(energy.Package)).All() {
		id := "intel-rapl:0:" + strconv.Itoa(number)
		number++
		s.addZone(pkg, k, id, k.String(), "../../intel-rapl:0", "../../..", "intel-rapl/intel-rapl:0/"+id)
	}

	s.add(vmDir, scaphDir, inode{name: "scaph", mode: modeDir})
	for f, name := range map[file]string{
		scaphUUID: "uuid", scaphVersion: "version", scaphUpdated: "updated_ns",
		scaphInterval: "interval_ns", scaphPower: "power_watts", scaphSource: "source",
	} {
		n := inode{name: name, mode: modeFile, value: true}
		if f == scaphPower { // it tells nearly what energy_uj tells
			n.mode = modeSecret
		}
		s.add(scaphDir, f, n)
	}
	for i := range s.inodes {
		slices.Sort(s.inodes[i].children) // a listing goes by number
	}
	return s
}

func (s *shape) add(parent, f file, n inode) {
	n.parent = parent
	s.inodes[f] = n
	s.inodes[parent].children = append(s.inodes[parent].children, f)
}

func (s *shape) addZone(parent file, k energy.Kind, id, name, device, subsystem, alias string) {
	dir := zoneFile(k, zoneDir)
	s.add(parent, dir, inode{name: id, mode: modeDir})
	s.add(dir, zoneFile(k, zoneName), inode{name: "name", mode: modeFile, fixed: name + "\n"})
	s.add(dir, zoneFile(k, zoneEnergy), inode{name: "energy_uj", mode: modeSecret, value: true})
	s.add(dir, zoneFile(k, zoneRange), inode{name: "max_energy_range_uj", mode: modeFile,
		fixed: strconv.FormatUint(uint64(EnergyRange), 10) + "\n"})
	s.add(dir, zoneFile(k, zoneEnabled), inode{name: "enabled", mode: modeFile, fixed: "1\n"})
	s.add(dir, zoneFile(k, zoneUevent), inode{name: "uevent", mode: modeFile})
	s.add(dir, zoneFile(k, zoneDevice), inode{name: "device", mode: modeLink, fixed: device})
	s.add(dir, zoneFile(k, zoneSubsystem), inode{name: "subsystem", mode: modeLink, fixed: subsystem})
	s.add(vmDir, zoneFile(k, zoneAlias), inode{name: id, mode: modeLink, fixed: alias})
}

// child finds a name in a directory of the shape.
func (s *shape) child(dir file, name string) (file, bool) {
	for _, f := range s.inodes[dir].children {
		if s.inodes[f].name == name {
			return f, true
		}
	}
	return 0, false
}

// shownKinds returns the kinds that the tree has of a host with the given ones.
func shownKinds(has energy.KindSet) energy.KindSet {
	return has.With(energy.Package).Without(energy.PsysBasis)
}
