// Package vmmap tells which processes are virtual machines.
//
// Identity is the libvirt UUID; the name is a label and may change. What is known comes, best first,
// from libvirt itself (the package libvirt below), from its runtime files under /run/libvirt/qemu,
// and from the command lines of processes whose executable really is a qemu. All of it is gathered off
// the tick: the meter only reads the last Map.
//
// # Whom to believe
//
// Who vouches decides: libvirt's API, then the files that it writes as root, then the command line
// of a process of a system account (root, an account below 1000, or the one that libvirt runs
// guests as), for an ordinary user cannot start one of those; then that of any other, which is a
// claim that anybody can make. Root of a container is such another. A weaker rung never takes
// anything from a stronger one, be it a UUID or a name, and among equals whoever has it keeps it;
// of two that ask at once the older process gets it, for it had the name before the other asked.
// What a stronger rung once vouched for is remembered when its VM has gone, and over restarts. A
// claim to a UUID that fails makes the process an ordinary one; a VM whose name is another's is
// shown by another name. Both are counted as conflicts.
//
// VMs that only an ordinary user's command line tells of are bounded, by account and in all.
package vmmap

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/proc"
)

// Source says which rung of the ladder a VM's identity came from, as in the label source="…".
type Source string

// The rungs, best first.
const (
	FromLibvirt Source = "libvirt"
	FromRuntime Source = "runtime"
	FromArgv    Source = "argv"
)

// State of a virtual machine.
type State string

// The states that matter to a power meter.
const (
	Running State = "running"
	Paused  State = "paused"
	Shutoff State = "shutoff" // defined, not started; has no process
)

// A VM is one virtual machine. Strings come from outside and are not escaped.
type VM struct {
	UUID    string // canonical lower case: 8-4-4-4-12 hexadecimal digits
	Derived bool   // the UUID was made from an id or a name on the command line, which had no UUID
	Name    string // libvirt's name of the domain, at most 255 bytes
	Title   string // libvirt's <title>, "" if none
	VCPUs   int    // online virtual CPUs, 0 where unknown
	State   State
	Source  Source
	// Ordinary says that nobody vouches for it but the command line of an ordinary user's process
	// (the Source is FromArgv).
	Ordinary bool
	Project  string // owner, from OpenStack-style libvirt metadata; "" if none
	User     string
	Flavor   string
	Share    string    // how its meter is shared with it: "virtiofs", "9p", "no", "" where that is not known
	Publish  string    // profile that its <metadata> asks for, "" for the configured one; not validated
	Process  proc.ID   // its qemu; zero when Shutoff, or when it was not found
	Helpers  []proc.ID // virtiofsd, swtpm, passt, qemu-storage-daemon, as far as found; ordered by pid
}

// rank orders VMs by who vouches for them, the least first.
func (vm *VM) rank() int {
	switch {
	case vm.Source == FromLibvirt:
		return 3
	case vm.Source == FromRuntime:
		return 2
	case !vm.Ordinary:
		return 1
	}
	return 0
}

// A Past is a VM that has gone, and that more than an ordinary user's command line vouched for:
// until it returns, no such command line gets its UUID.
type Past struct {
	UUID string
	Left time.Time
}

// A Map is everything known at one moment. It is immutable.
type Map struct {
	VMs  []VM   // ordered by UUID, each UUID once
	Past []Past // ordered by UUID
	Note string // which rung is in use and why not a better one, for people

	// Complete says that a machine which is not in VMs does not exist. It is false until libvirt, where it is to be
	// asked, has answered for the first time: machines that are defined and shut off are not known before.
	Complete bool
	// Blind says that nothing was looked at yet: what an earlier run knew is still the best there is.
	Blind bool

	byPID map[int32]member
}

// member is what Find needs to know of a qemu or a helper.
type member struct {
	start uint64
	index int // in Map.VMs
}

// NewMap makes a Map of VMs in any order. Where a UUID comes twice the first one is kept, and where
// two VMs name one process it belongs to the one whose qemu it is, else to the first.
func NewMap(vms []VM, note string) *Map {
	m := &Map{VMs: slices.Clone(vms), Note: note, Complete: true, byPID: make(map[int32]member, 2*len(vms))}
	slices.SortStableFunc(m.VMs, func(a, b VM) int { return strings.Compare(a.UUID, b.UUID) })
	m.VMs = slices.CompactFunc(m.VMs, func(a, b VM) bool { return a.UUID == b.UUID })
	add := func(p proc.ID, index int) {
		if _, taken := m.byPID[p.PID]; !taken && p != (proc.ID{}) {
			m.byPID[p.PID] = member{p.Start, index}
		}
	}
	for i := range m.VMs {
		add(m.VMs[i].Process, i)
	}
	for i := range m.VMs {
		for _, h := range m.VMs[i].Helpers {
			add(h, i)
		}
	}
	return m
}

// Find gives the index in VMs of the virtual machine to which a process belongs, as its qemu or as one
// of its helpers. A process that has the id of one but another start time is not it; a start of 0 stands for
// whichever process has the id now. Find does not allocate.
func (m *Map) Find(pid int32, start uint64) (index int, ok bool) {
	found, ok := m.byPID[pid]
	if !ok || start != 0 && found.start != start {
		return 0, false
	}
	return found.index, true
}

// equal says that nothing differs that a reader could see.
func (m *Map) equal(other *Map) bool {
	return m.Note == other.Note && m.Complete == other.Complete && m.Blind == other.Blind && slices.Equal(m.Past, other.Past) && reflect.DeepEqual(m.VMs, other.VMs)
}
