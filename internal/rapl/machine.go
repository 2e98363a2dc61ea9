package rapl

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// isTmpfsOver says whether a tmpfs lies over the tree, or over the devices behind it, as container
// runtimes put it to hide them. It compares with the rest of sysfs, which may itself stand on a tmpfs.
func isTmpfsOver(sysfs, dir string) bool {
	var above, here unix.Statfs_t
	if unix.Statfs(sysfs, &above) != nil || above.Type == unix.TMPFS_MAGIC {
		return false
	}
	for _, path := range []string{dir, filepath.Join(sysfs, "devices/virtual/powercap")} {
		if unix.Statfs(path, &here) == nil && here.Type == unix.TMPFS_MAGIC {
			return true
		}
	}
	return false
}

// A cpu is what /proc/cpuinfo says of the first CPU.
type cpu struct {
	vendor     string // vendor_id; "ARM" where there is a CPU implementer instead; "" if neither
	hypervisor bool   // the flag that x86 hypervisors set for their guests
}

func readCPU(path string) cpu {
	var c cpu
	f, err := os.Open(path)
	if err != nil {
		return c
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() && lines.Text() != "" { // an empty line ends the first CPU
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.TrimSpace(key) {
		case "vendor_id":
			c.vendor = strings.TrimSpace(value)
		case "CPU implementer":
			c.vendor = "ARM"
		case "flags":
			c.hypervisor = strings.Contains(value+" ", " hypervisor ")
		}
	}
	return c
}

func hasRAPL(vendor string) bool {
	switch vendor {
	case "GenuineIntel", "AuthenticAMD", "HygonGenuine":
		return true
	}
	return false
}

// machineName gives the vendor and the product of the machine as its firmware names them, "" if it does not.
func machineName(sysfs string) string {
	var names []string
	for _, file := range []string{"sys_vendor", "product_name"} {
		if name := readLine(system{}, filepath.Join(sysfs, "class/dmi/id", file)); name.err == nil && name.text != "" {
			names = append(names, name.text)
		}
	}
	return strings.Join(names, " ")
}

// isVirtual says whether a firmware's names are those of a hypervisor; needed where CPUs have no flag for it.
func isVirtual(machine string) bool {
	for _, sign := range []string{"QEMU", "KVM", "VMware", "VirtualBox", "Xen", "Bochs", "Parallels", "OpenStack", "Google Compute Engine", "Microsoft Corporation Virtual Machine"} {
		if strings.Contains(machine, sign) {
			return true
		}
	}
	return false
}

// containerMark gives the path of the file by which a container runtime marks its containers, "" if there is none.
func containerMark(root string) string {
	for _, mark := range []string{".dockerenv", "run/.containerenv"} {
		path := filepath.Join(root, mark)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// isLoaded says whether one of the drivers that register zones is there: as a module, or built into the kernel with parameters.
func isLoaded(sysfs string) bool {
	for _, module := range []string{"intel_rapl_msr", "intel_rapl_tpmi", "intel_rapl"} {
		if _, err := os.Stat(filepath.Join(sysfs, "module", module)); err == nil {
			return true
		}
	}
	return false
}
