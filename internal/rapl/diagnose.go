package rapl

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Roots are the directories in which a diagnosis looks around.
type Roots struct {
	Sysfs  string // "/sys"
	Procfs string // "/proc"
	Root   string // "/": where container runtimes leave their marks
}

// DefaultRoots gives the machine's own.
func DefaultRoots() Roots { return Roots{Sysfs: "/sys", Procfs: "/proc", Root: "/"} }

// A Reason says why there is no readable zone.
type Reason string

// The reasons.
const (
	NotMounted     Reason = "not mounted"     // a directory outside sysfs that is missing or has no zones: a share that is not there
	Permission     Reason = "permission"      // there are zones, and we may not read them
	Unreadable     Reason = "unreadable"      // there are zones, and reading them fails otherwise
	Unusable       Reason = "unusable"        // there are zones, and none of them counts
	Masked         Reason = "masked"          // hidden by a container runtime
	VirtualMachine Reason = "virtual machine" // the CPU is virtual: its energy is known to the host only
	Unsupported    Reason = "unsupported"     // the CPU has no RAPL counters that Linux knows
	NotLoaded      Reason = "not loaded"      // the kernel's driver is missing
)

// A NoZonesError says that a powercap tree has no readable zone, why, and what to do about it.
type NoZonesError struct {
	Dir    string // the tree
	Reason Reason
	Detail string // what was found
	Remedy string // what to do, one or two sentences
	Err    error  // the failures behind it; nil if the tree is just empty
}

// Error gives what was found and what to do, in one line.
func (e *NoZonesError) Error() string {
	return fmt.Sprintf("no readable RAPL zone in %s: %s. %s", e.Dir, e.Detail, e.Remedy)
}

// Unwrap gives the failures of the zones or of the directory.
func (e *NoZonesError) Unwrap() error { return e.Err }

// diagnose finds the reason for a failure of Open: what was discovered at dir was of no use, and err, if not nil, is why.
func diagnose(roots Roots, dir string, found discovery, err error) *NoZonesError {
	e := &NoZonesError{Dir: dir, Err: err}
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Reason = Permission
		e.Detail = "not allowed to read it: " + firstLine(err)
		e.Remedy = "Run as root, or give the program CAP_DAC_READ_SEARCH (systemd: AmbientCapabilities=CAP_DAC_READ_SEARCH)."
	case len(found.zones) > 0:
		e.Reason = Unreadable
		e.Detail = firstLine(err)
		e.Remedy = "See the kernel log (dmesg) for the driver's complaints."
	case len(found.leftOut) > 0:
		e.Reason = Unusable
		e.Detail = fmt.Sprintf("%s does not count, because %s", found.leftOut[0].Path, found.leftOut[0].Why)
		e.Remedy = "Check that the directory is a powercap tree as the kernel makes it."
	case !within(dir, roots.Sysfs):
		e.Reason = NotMounted
		e.Detail = "it holds no zones"
		if errors.Is(err, fs.ErrNotExist) {
			e.Detail = "there is no such directory"
		}
		e.Remedy = "Check the path; in a virtual machine, mount the share that its host provides (scaph-guest mount)."
	default:
		explainSysfs(e, roots, found)
	}
	return e
}

// explainSysfs goes through the reasons for which sysfs itself has no zones, the surest sign first.
func explainSysfs(e *NoZonesError, roots Roots, found discovery) {
	cpu := readCPU(filepath.Join(roots.Procfs, "cpuinfo"))
	container := containerMark(roots.Root)
	machine := machineName(roots.Sysfs)
	switch {
	case found.dangling || isTmpfsOver(roots.Sysfs, e.Dir):
		e.Reason = Masked
		e.Detail = "a container runtime hides it"
		e.Remedy = "Run on the host; or in a container with the host's /sys mounted (read-only will do) and " +
			"/sys/devices/virtual/powercap unmasked (docker: --security-opt systempaths=unconfined; podman: --security-opt unmask=/sys/devices/virtual/powercap)."
	case cpu.hypervisor || isVirtual(machine):
		e.Reason = VirtualMachine
		e.Detail = "this is a virtual machine" + inParentheses(machine) + ", which has no energy counters of its own"
		e.Remedy = "Run scaph-host on its host, share the meter with this machine by virtiofs or 9p, and run scaph-guest here."
	case cpu.vendor != "" && !hasRAPL(cpu.vendor):
		e.Reason = Unsupported
		e.Detail = "the CPU is " + quote([]byte(cpu.vendor)) + ", and only those of Intel, AMD and Hygon have RAPL counters"
		e.Remedy = "Use the estimating sensor (sensor.kind: estimate), with the machine's idle and full-load watts."
	case isLoaded(roots.Sysfs):
		e.Reason = Unsupported
		e.Detail = "the driver is loaded, and found no counters in this CPU"
		e.Remedy = "Use a newer kernel if the CPU is newer than it, or the estimating sensor (sensor.kind: estimate)."
	case container != "":
		e.Reason = Masked
		e.Detail = "this is a container (there is " + container + "), and it is empty here"
		e.Remedy = "Look on the host: if it is empty there too, run modprobe intel_rapl_msr there; else mount the host's /sys into the container."
	default:
		e.Reason = NotLoaded
		e.Detail = "the kernel's RAPL driver is not loaded"
		e.Remedy = "Run modprobe intel_rapl_msr (Intel and AMD; before Linux 5.3: modprobe intel_rapl; Xeon 6 and later: " +
			"modprobe intel_rapl_tpmi), and put the name into /etc/modules-load.d/rapl.conf to keep it."
	}
}

func within(path, root string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// firstLine gives the first of several joined errors, which have one line each.
func firstLine(err error) string {
	if err == nil {
		return ""
	}
	line, rest, several := strings.Cut(err.Error(), "\n")
	if several {
		line += fmt.Sprintf(" (and %d more)", 1+strings.Count(rest, "\n"))
	}
	return line
}

func inParentheses(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}
