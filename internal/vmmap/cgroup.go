package vmmap

import (
	"bytes"
	"strings"

	"github.com/scaph/scaph/internal/proc"
)

// machineScope finds in /proc/PID/cgroup, cgroups(7), the cgroup that stands for one virtual machine, and gives
// its path up to there; "" if the process is in none. Below it libvirt makes groups of its own (libvirt/emulator,
// vcpu0). The shapes:
//
//	/machine.slice/machine-qemu\x2d1\x2dweb.scope/libvirt/emulator   libvirt with systemd-machined
//	/machine/qemu-1-web.libvirt-qemu/emulator                        libvirt without
//	/qemu.slice/100.scope                                            Proxmox
//
// With cgroup v1 a process may be in it in some hierarchies only; the first that has it counts.
func machineScope(text []byte) string {
	for path := range proc.Cgroups(text) {
		if !bytes.Contains(path, []byte("qemu")) {
			continue // most processes are in no machine: that costs no memory
		}
		group := string(path)
		parts := strings.Split(group, "/")
		for i := 1; i < len(parts); i++ {
			parent, part := parts[i-1], parts[i]
			if strings.HasPrefix(part, "machine-qemu") && strings.HasSuffix(part, ".scope") ||
				parent == "machine" && strings.HasPrefix(part, "qemu-") ||
				parent == "qemu.slice" && strings.HasSuffix(part, ".scope") {
				return strings.Join(parts[:i+1], "/")
			}
		}
	}
	return ""
}

// containerOf finds in /proc/PID/cgroup, cgroups(7), what names a container, and returns its path
// up to there; "" if there is nothing like it. The shapes, with Docker, Podman, containerd, CRI-O;
// Kubernetes; LXC; systemd-nspawn:
//
//	/docker/<64 digits>  /system.slice/docker-<64 digits>.scope  …/libpod-<64 digits>.scope
//	/kubepods/besteffort/pod<uid>/…  /kubepods.slice/…
//	/lxc/101/ns  /lxc.payload.web  /machine.slice/machine-fedora.scope
func containerOf(text []byte) string {
	for group := range proc.Cgroups(text) {
		parts := strings.Split(string(group), "/")
		for i, part := range parts {
			if strings.HasPrefix(part, "kubepods") || part == "lxc" || strings.HasPrefix(part, "lxc.payload") ||
				strings.HasPrefix(part, "machine-") && strings.HasSuffix(part, ".scope") && !strings.HasPrefix(part, "machine-qemu") ||
				hasContainerID(part) {
				return strings.Join(parts[:i+1], "/")
			}
		}
	}
	return ""
}

// hasContainerID reports whether a name ends in 64 hexadecimal digits, but for a suffix of
// systemd's.
func hasContainerID(name string) bool {
	name, _, _ = strings.Cut(name, ".")
	const digits = 64
	return len(name) >= digits && strings.Trim(name[len(name)-digits:], "0123456789abcdef") == ""
}
