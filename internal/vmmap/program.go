package vmmap

import (
	"path"
	"slices"
	"strings"

	"github.com/scaph/scaph/internal/proc"
)

// helperPrograms are what libvirt starts beside a qemu and names in pid files. A file whose process
// is something else is a leftover.
var helperPrograms = []string{
	"virtiofsd", "swtpm", "passt", "qemu-storage-daemon", "qemu-pr-helper", "slirp-helper", "dbus-daemon",
	"vhost-user-gpu", "vhost-user-input", "nbdkit",
}

// qemuSystem begins the names of full-system qemus; qemuPrograms are those that distributions name
// otherwise.
const qemuSystem = "qemu-system-"

var qemuPrograms = []string{"qemu-kvm", "kvm"}

// wrapperSuffixes are what wrapped programs are renamed to by NixOS (.NAME-wrapped, one underscore
// more each time that name is taken) and by Guix (.NAME-real).
var wrapperSuffixes = []string{"-wrapped", "-real"}

// programOf returns the name of the program behind a target of /proc/PID/exe, under whatever name
// its file has by now, and without the wrappers that hide it.
func programOf(exe string) string {
	name := path.Base(proc.Executable(exe))
	for strings.HasPrefix(name, ".") {
		inner := ""
		for _, suffix := range wrapperSuffixes {
			if s, ok := strings.CutSuffix(strings.TrimRight(name[1:], "_"), suffix); ok {
				inner = s
			}
		}
		if inner == "" {
			break
		}
		name = inner
	}
	return name
}

// isQemu reports whether an executable is a full-system qemu.
func isQemu(exe string) bool {
	name := programOf(exe)
	return strings.HasPrefix(name, qemuSystem) || slices.Contains(qemuPrograms, name)
}

// isHelper reports whether an executable is one that libvirt starts for a VM. passt, for one,
// executes a build for the CPU's vector unit (passt.avx2), so a suffix after a dot is not looked
// at.
func isHelper(exe string) bool {
	name := programOf(exe)
	return slices.ContainsFunc(helperPrograms, func(program string) bool {
		return name == program || strings.HasPrefix(name, program) && name[len(program)] == '.'
	})
}

// NamedLikeQemu judges by the kernel's name of a process, cut to 15 bytes. Anybody can set it, so
// it serves only to confirm what libvirt says, and to know whom to look at more closely.
func NamedLikeQemu(comm string) bool {
	return isQemu(comm) || strings.HasPrefix(strings.TrimLeft(comm, "."), qemuSystem) || cutNameOf(qemuPrograms, comm)
}

// namedLikeHelper does the same for helpers.
func namedLikeHelper(comm string) bool { return isHelper(comm) || cutNameOf(helperPrograms, comm) }

// cutNameOf reports whether a kernel's name may be what is left of one of the programs, or of its
// wrapped file.
func cutNameOf(programs []string, comm string) bool {
	if len(comm) != maxComm {
		return false
	}
	name, wrapped := strings.CutPrefix(comm, ".")
	return slices.ContainsFunc(programs, func(program string) bool {
		if strings.HasPrefix(program, name) {
			return true
		}
		rest, ok := strings.CutPrefix(name, program)
		return ok && wrapped && slices.ContainsFunc(wrapperSuffixes, func(suffix string) bool {
			return strings.HasPrefix(suffix, rest)
		})
	})
}
