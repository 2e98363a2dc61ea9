package attach

import "fmt"

// A memory is what a definition says of the VM's memory. virtiofsd maps all of it, so all of it has to be shared
// (https://libvirt.org/kbase/virtiofs.html).
type memory struct {
	backing *node // <memoryBacking>, nil where there is none
	shared  bool
	// private says what was declared private, or is not understood; that is somebody's decision and stays. "" if nothing.
	private string
	// source is the declared <source type>, "" where there is none.
	source    string
	hugepages bool
}

// readMemory judges as libvirt does: a NUMA cell or a memory device that says nothing follows <memoryBacking>.
func readMemory(domain *node) memory {
	m := memory{backing: domain.child("memoryBacking")}
	m.hugepages = m.backing.child("hugepages") != nil
	if s := m.backing.child("source"); s != nil {
		m.source = s.attr("type")
	}
	common, said := "", m.backing.child("access")
	if said != nil {
		common = said.attr("mode")
	}
	cells := domain.child("cpu").child("numa").all("cell")
	follow := len(cells) == 0
	for _, c := range cells {
		switch access := c.attr("memAccess"); access {
		case "":
			follow = true
		case "shared":
		default:
			m.private = fmt.Sprintf("<cell id='%s' memAccess='%s'>", c.attr("id"), access)
		}
	}
	for _, device := range domain.child("devices").all("memory") {
		switch access := device.attr("access"); access {
		case "":
			follow = true
		case "shared":
		default:
			m.private = fmt.Sprintf("<memory model='%s' access='%s'>", device.attr("model"), access)
		}
	}
	if follow && said != nil && common != "shared" {
		m.private = fmt.Sprintf("<access mode='%s'> in <memoryBacking>", common)
	}
	m.shared = m.private == "" && (!follow || common == "shared")
	return m
}

// toShare lists the elements that <memoryBacking> lacks. Whatever the memory comes from already stays: huge pages can be
// shared, and so can the file that libvirt makes for the sources file and anonymous.
func (m memory) toShare() []element {
	if m.shared {
		return nil
	}
	var lacks []element
	if m.backing.child("source") == nil && !m.hugepages {
		lacks = append(lacks, element{name: "source", attrs: []string{"type", "memfd"}})
	}
	return append(lacks, element{name: "access", attrs: []string{"mode", "shared"}})
}

// inFile reports whether the memory, once shared, is a file in libvirt's memory_backing_dir.
func (m memory) inFile() bool { return !m.hugepages && (m.source == "file" || m.source == "anonymous") }

// usesSharedMemory reports whether a device of the domain needs shared memory; share, which is to go, is not looked at.
func usesSharedMemory(domain, share *node) bool {
	devices := domain.child("devices")
	if devices == nil {
		return false
	}
	for _, d := range devices.children {
		driver := d.child("driver")
		if d == share {
			continue
		}
		if d.attr("type") == "vhostuser" || driver.attrOf("type") == "virtiofs" || driver.attrOf("name") == "vhostuser" {
			return true
		}
	}
	return false
}
