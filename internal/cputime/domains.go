package cputime

// A Zone names the part of the machine that an energy zone measures. Package is -1 for a zone of
// the whole machine (psys), Die is -1 for a zone of a whole package.
type Zone struct {
	Package int
	Die     int
}

// Domains maps CPUs and energy zones to energy domains: the parts of the machine, numbered from 0,
// between which CPU time is told apart. It is used by one goroutine at a time.
type Domains struct {
	sysfs  string // where CPUs that come online later are looked up
	number map[Zone]int
	byCPU  []location // by CPU number
	len    int
}

// A location is the domain of a CPU. It is known from when the CPU is seen online until it comes online again: then it may be
// another, which was plugged in under the same number.
type location struct {
	domain int
	known  bool
}

// NewDomains gives each distinct zone a domain, in the order given, if every CPU lies in one of the
// zones (in that of its die, else in that of its package) and every zone has a CPU. Otherwise (a
// guest with one zone and a virtual socket per CPU, a machine that does not tell its packages, only
// zones of the whole machine) there is one domain, 0, of all CPUs and all zones. CPUs whose place is not known
// are left out of this: sysfs is read again when one of them, or one that is not among cpus, has run something.
func NewDomains(sysfs string, cpus []CPU, zones []Zone) *Domains {
	d := &Domains{sysfs: sysfs, number: make(map[Zone]int), len: 1}
	for _, z := range zones {
		if _, known := d.number[z]; !known && z.Package >= 0 {
			d.number[z] = len(d.number)
		}
	}
	populated := make(map[int]bool)
	for _, cpu := range cpus {
		if cpu.Package < 0 {
			continue
		}
		domain, covered := d.place(cpu)
		if !covered {
			return &Domains{len: 1}
		}
		d.set(cpu.Number, domain)
		populated[domain] = true
	}
	if len(populated) < len(d.number) {
		return &Domains{len: 1}
	}
	d.len = max(1, len(d.number))
	return d
}

// Len is how many domains there are, at least 1.
func (d *Domains) Len() int { return d.len }

// OfZone gives the domain whose CPUs the zone measures.
func (d *Domains) OfZone(z Zone) int { return d.number[z] }

// OfCPU gives the domain of a CPU by its number. One that no zone measures belongs to domain 0, and so does one whose
// place cannot be read and was never known.
func (d *Domains) OfCPU(cpu int) int {
	if d.len == 1 || cpu < 0 || cpu >= maxCPU {
		return 0
	}
	if cpu >= len(d.byCPU) || !d.byCPU[cpu].known {
		if now := readCPU(d.sysfs, cpu); now.Package >= 0 {
			domain, _ := d.place(now)
			d.set(cpu, domain)
		} else if cpu >= len(d.byCPU) {
			return 0
		}
	}
	return d.byCPU[cpu].domain
}

// CameOnline has the place of a CPU read again.
func (d *Domains) CameOnline(cpu int) {
	if cpu < len(d.byCPU) {
		d.byCPU[cpu].known = false
	}
}

func (d *Domains) place(cpu CPU) (domain int, covered bool) {
	if domain, covered = d.number[Zone{cpu.Package, cpu.Die}]; covered {
		return domain, true
	}
	domain, covered = d.number[Zone{cpu.Package, -1}]
	return domain, covered
}

func (d *Domains) set(cpu, domain int) {
	for len(d.byCPU) <= cpu {
		d.byCPU = append(d.byCPU, location{})
	}
	d.byCPU[cpu] = location{domain, true}
}
