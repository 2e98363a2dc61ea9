package vmmap

import (
	"cmp"
	"slices"
	"time"
)

// evidence is all that one look found.
type evidence struct {
	processes map[int32]*observed
	domains   []Domain // libvirt's last listing, nil if there never was one
	fresh     bool     // the listing is of now: what it does not show running does not run
	runtime   runtimeState
	system    func(uid uint32) bool // account of the system, which ordinary users cannot start processes as
	vouched   map[string]time.Time  // UUIDs that a better rung than argv has named of late
}

// A conflict is a process whose command line claims a UUID that is not its own.
type conflict struct {
	Process
	uuid string
	why  string
}

// merger builds the list of VMs from the evidence, best rung first.
type merger struct {
	evidence
	vms       []VM
	numbers   map[string]int           // libvirt's number of the running domain, by UUID
	index     map[string]int           // of a UUID in vms
	tied      map[string]*observed     // by the runtime files: the process of a UUID
	claims    map[string][]*observed   // by UUID, best first
	used      map[int32]bool           // process ids that are some VM's
	confirmed map[string]runtimeDomain // the runtime files' domains that tied holds, by UUID
}

// merge decides which processes are virtual machines; the rules are told in the package comment.
func merge(e evidence) ([]VM, []conflict) {
	m := &merger{evidence: e, numbers: map[string]int{}, index: map[string]int{}, tied: map[string]*observed{},
		claims: map[string][]*observed{}, used: map[int32]bool{}, confirmed: map[string]runtimeDomain{}}
	m.collectClaims()
	m.tieRuntime()
	m.addDomains()
	m.addRuntime()
	conflicts := m.addClaims()
	m.addHelpers()
	// A qemu that forked itself is two processes with one command line, and no quarrel.
	conflicts = slices.DeleteFunc(conflicts, func(c conflict) bool { return m.used[c.PID] })
	return m.vms, conflicts
}

// claimedUUID is the UUID that a qemu has by its own command line.
func claimedUUID(p *observed) string {
	if p.argv.uuid != "" {
		return p.argv.uuid
	}
	return derivedUUID(*p.argv, p.uid)
}

func (m *merger) collectClaims() {
	for _, p := range m.processes {
		if !p.qemu {
			continue
		}
		if uuid := claimedUUID(p); uuid != "" {
			m.claims[uuid] = append(m.claims[uuid], p)
		}
	}
	for _, claimants := range m.claims {
		slices.SortFunc(claimants, func(a, b *observed) int {
			return cmp.Or(
				compareBool(m.system(b.uid), m.system(a.uid)),
				compareBool(b.proof, a.proof),
				cmp.Compare(a.Start, b.Start),
				cmp.Compare(a.PID, b.PID),
			)
		})
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// tieRuntime finds the processes that the runtime files name. After a crash of libvirtd a file may outlive its
// process, whose id may be used again: it must be a qemu, and libvirt starts none without -uuid.
func (m *merger) tieRuntime() {
	byName := make(map[string]string, len(m.domains))
	for _, d := range m.domains {
		byName[d.Name] = d.UUID
	}
	for _, r := range m.runtime.domains {
		p := m.processes[r.pid]
		if p == nil || !p.qemu {
			continue
		}
		claimed := p.argv.uuid
		if r.UUID == "" { // a pid file alone
			r.UUID = cmp.Or(byName[r.Name], claimed)
			r.VCPUs = p.argv.vcpus
		}
		if r.UUID == "" || claimed != "" && claimed != r.UUID || m.tied[r.UUID] != nil {
			continue
		}
		m.tied[r.UUID] = p
		m.confirmed[r.UUID] = r
	}
}

// addDomains adds what libvirt lists, with the process that the runtime files tie to it, else with the best
// claim. A domain that is shut off has no process, whoever claims to be it. While libvirt does not answer, a domain may have
// been started that its last listing shows as off; then only a process that an ordinary user cannot have started is believed.
func (m *merger) addDomains() {
	for _, d := range m.domains {
		if _, twice := m.index[d.UUID]; twice || d.UUID == "" {
			continue
		}
		vm := vmOf(d, FromLibvirt)
		p, state := m.tied[d.UUID], d.State
		switch {
		case p != nil:
			if r := m.confirmed[d.UUID]; state == Shutoff || !m.fresh {
				state = r.State
			}
		case m.fresh && state == Shutoff:
		case len(m.claims[d.UUID]) > 0:
			best := m.claims[d.UUID][0]
			if m.fresh || m.system(best.uid) {
				p = best
			}
		}
		if !m.fresh && p == nil {
			state = Shutoff
		}
		if p != nil && state == Shutoff {
			state = Running
		}
		vm.State = state
		m.add(vm, p, d.ID)
	}
}

// addRuntime adds the domains of the runtime files that libvirt's listing does not have.
func (m *merger) addRuntime() {
	for uuid, r := range m.confirmed {
		if _, listed := m.index[uuid]; !listed {
			r.UUID = uuid
			if r.State == Shutoff { // the document is behind: its process lives
				r.State = Running
			}
			m.add(vmOf(r.Domain, FromRuntime), m.tied[uuid], r.ID)
		}
	}
}

// addClaims adds machines that only their command line tells of, and gives the claims that failed.
func (m *merger) addClaims() (conflicts []conflict) {
	refuse := func(p *observed, uuid, why string) {
		conflicts = append(conflicts, conflict{p.Process, uuid, why})
	}
	for uuid, claimants := range m.claims {
		at, known := m.index[uuid]
		for _, p := range claimants {
			switch {
			case m.used[p.PID]:
			case known && m.vms[at].Source != FromArgv:
				refuse(p, uuid, "libvirt says that this UUID is another process's, or is shut off")
			case known:
				refuse(p, uuid, "another process claims the same UUID with more right")
			case !p.proof:
			case !m.vouched[uuid].IsZero() && !m.system(p.uid):
				refuse(p, uuid, "this UUID was libvirt's, and an ordinary user's process claims it")
			default:
				vm := VM{UUID: uuid, Derived: p.argv.uuid == "", Name: label(cmp.Or(p.argv.name, p.argv.id, uuid)),
					VCPUs: p.argv.vcpus, State: Running, Source: FromArgv}
				at, known = m.add(vm, p, 0), true
			}
		}
	}
	return conflicts
}

func vmOf(d Domain, source Source) VM {
	share := d.Share
	if share == "" {
		share = "no"
	}
	return VM{Share: share, Publish: d.Publish, UUID: d.UUID, Name: label(d.Name), Title: d.Title, VCPUs: d.VCPUs, State: d.State, Source: source,
		Project: d.Project, User: d.User, Flavor: d.Flavor}
}

// add takes a VM with its process, nil for none.
func (m *merger) add(vm VM, p *observed, number int) int {
	if p != nil && !m.used[p.PID] {
		vm.Process = p.Process
		m.used[p.PID] = true
	}
	at := len(m.vms)
	m.vms = append(m.vms, vm)
	m.index[vm.UUID] = at
	if r := m.confirmed[vm.UUID]; r.ID > 0 { // never older than the listing
		number = r.ID
	}
	m.numbers[vm.UUID] = number
	return at
}
