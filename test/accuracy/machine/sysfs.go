package machine

import (
	"strconv"
	"strings"
)

// sysfs holds the topology of the CPUs and the powercap tree, shaped as the kernel's.
func (m *Machine) sysfs() node {
	var cpus, flat, nested []node
	for i, c := range m.cpus {
		cpus = append(cpus, directory("cpu"+strconv.Itoa(i), directory("topology",
			constant("physical_package_id", strconv.Itoa(c.pkg)+"\n"), constant("die_id", "0\n"))))
	}
	for _, z := range m.zones {
		if strings.Count(z.id, ":") == 1 {
			nested = append(nested, m.zoneNode(z))
			flat = append(flat, node{name: z.id, link: "intel-rapl/" + z.id})
			continue
		}
		parent := z.id[:strings.LastIndexByte(z.id, ':')]
		flat = append(flat, node{name: z.id, link: "intel-rapl/" + parent + "/" + z.id})
	}
	powercap := directory("powercap", append(flat, directory("intel-rapl", nested...))...)
	return directory("sys", directory("class", powercap), directory("devices", directory("system", directory("cpu", cpus...))))
}

// zoneNode is a zone with the zones inside it. Whoever reads the first package's counter again through a descriptor that he
// keeps open has begun a tick. Those who open it and read once only want to know what there is.
func (m *Machine) zoneNode(z *zone) node {
	energy := m.file("energy_uj", z.shown)
	if z == m.zones[0] {
		energy.again = m.look
	}
	entries := []node{
		constant("name", z.name+"\n"), constant("enabled", "1\n"),
		constant("max_energy_range_uj", strconv.FormatUint(z.wrap, 10)+"\n"), energy,
	}
	for _, child := range m.zones {
		if strings.HasPrefix(child.id, z.id+":") {
			entries = append(entries, m.zoneNode(child))
		}
	}
	return directory(z.id, entries...)
}
