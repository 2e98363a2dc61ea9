// Package vmmap tells which processes are virtual machines.
//
// Identity is the libvirt UUID; the name is a label and may change. What is known comes, best first,
// from libvirt itself (the package libvirt below), from its runtime files under /run/libvirt/qemu,
// and from the command lines of processes whose executable really is a qemu. All of it is gathered off
// the tick: the meter only reads the last Map.
package vmmap

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

// A Process is a process id with the start time that guards it against reuse
// (clock ticks since boot, field 22 of /proc/PID/stat).
type Process struct {
	PID   int32
	Start uint64
}

// A VM is one virtual machine. Strings come from outside and are not escaped.
type VM struct {
	UUID    string // canonical lower case: 8-4-4-4-12 hexadecimal digits
	Name    string // libvirt's name of the domain
	Title   string // libvirt's <title>, "" if none
	VCPUs   int    // online virtual CPUs, 0 where unknown
	State   State
	Source  Source
	Project string // owner, from OpenStack-style libvirt metadata; "" if none
	User    string
	Flavor  string
	Process Process   // its qemu; zero when Shutoff
	Helpers []Process // virtiofsd, swtpm, passt, qemu-storage-daemon, as far as found
}

// A Map is everything known at one moment. It is immutable.
type Map struct {
	VMs  []VM   // ordered by UUID, each UUID once
	Note string // which rung is in use and why not a better one, for people

	byPID map[int32]int32 // process id of a qemu or helper to its index in VMs
}
