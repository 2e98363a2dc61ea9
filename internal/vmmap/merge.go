package vmmap

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/scaph/scaph/internal/proc"
)

// evidence is all that one look found, and what was known before it.
type evidence struct {
	processes *proc.Table[observed]
	boot      time.Time // zero where unknown
	domains   []Domain  // libvirt's last listing, nil if there never was one
	fresh     bool      // libvirt answered when it was last asked: what it did not show running did not run then
	asked     uint32    // number of the last look before it was asked
	runtime   runtimeState
	held      map[string]*VM       // by UUID: the VMs before
	past      map[string]time.Time // see Past
}

// A conflict is something that a process claims and does not get.
type conflict struct {
	proc.ID
	uid   uint32
	found uint32 // number of the look that first met the process
	uuid  string
	vm    string // as which VM the process counts all the same, "" if as none
	why   string
	hint  string
}

const (
	// How many VMs may be known by nothing but command lines of one ordinary account, and of all of
	// them. A node of Kubernetes has at most 110 pods by default, and so machines of KubeVirt's.
	maxOfAccount  = 110
	maxOfAccounts = 440
)

// merger builds the list of VMs from the evidence, best rung first.
type merger struct {
	evidence
	vms       []VM
	numbers   map[string]int           // libvirt's number of the running domain, by UUID
	index     map[string]int           // of a UUID in vms, plus one
	tied      map[string]*observed     // by the runtime files: the process of a UUID
	claims    map[string][]*observed   // by UUID, best first
	used      map[int32]bool           // process ids that are some VM's
	confirmed map[string]runtimeDomain // the runtime files' domains that tied holds, by UUID
	conflicts []conflict
}

// merge decides which processes are virtual machines; the rules are told in the package comment.
func merge(e evidence) ([]VM, []conflict) {
	m := &merger{evidence: e, numbers: map[string]int{}, index: map[string]int{}, tied: map[string]*observed{},
		claims: map[string][]*observed{}, used: map[int32]bool{}, confirmed: map[string]runtimeDomain{}}
	m.collectClaims()
	m.tieRuntime()
	m.addDomains()
	m.addRuntime()
	m.addClaims()
	m.addHelpers()
	// A qemu that forked itself is two processes with one command line, and no quarrel.
	m.conflicts = slices.DeleteFunc(m.conflicts, func(c conflict) bool { return c.vm == "" && m.used[c.PID] })
	m.settleNames()
	return m.vms, m.conflicts
}

// mayBe reports whether a qemu has a UUID by its own command line, or has been told apart by it.
func (p *observed) mayBe(uuid string) bool {
	return claimedUUID(p) == uuid || derivedUUID(*p.argv, p.uid) == uuid
}

// claimedUUID is the UUID that a qemu has by its own command line.
func claimedUUID(p *observed) string { return cmp.Or(p.argv.uuid, derivedUUID(*p.argv, p.uid)) }

// holds reports whether a process has been the VM of a UUID.
func (m *merger) holds(p *observed, uuid string) bool {
	vm := m.held[uuid]
	return vm != nil && vm.Process == p.ID
}

func (m *merger) collectClaims() {
	for _, p := range m.processes.All() {
		if !p.qemu {
			continue
		}
		uuid := claimedUUID(p)
		if own := derivedUUID(*p.argv, p.uid); own != "" && m.holds(p, own) {
			uuid = own // it has lost another one to an equal: see addClaims
		}
		if uuid != "" {
			m.claims[uuid] = append(m.claims[uuid], p)
		}
	}
	for uuid, claimants := range m.claims {
		slices.SortFunc(claimants, func(a, b *observed) int {
			return cmp.Or(
				compareBool(b.account.System, a.account.System),
				compareBool(b.proof, a.proof),
				compareBool(m.holds(b, uuid), m.holds(a, uuid)),
				older(a, b),
			)
		})
	}
}

func older(a, b *observed) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.PID, b.PID))
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

// tieRuntime finds the processes that the runtime files name. After a crash of libvirtd a file may
// outlive its process, whose id may be used again: it must be a qemu, and libvirt starts none
// without -uuid. An ordinary user can see to it that his has both, so what he starts must be older
// than the file.
func (m *merger) tieRuntime() {
	byName := make(map[string]string, len(m.domains))
	for _, d := range m.domains {
		byName[d.Name] = d.UUID
	}
	for _, r := range m.runtime.domains {
		p := m.processes.Find(r.pid)
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
		if !p.account.System && !m.holds(p, r.UUID) && m.startedAfter(p, r.written) {
			continue
		}
		m.tied[r.UUID] = p
		m.confirmed[r.UUID] = r
	}
}

// startedAfter reports whether a process is clearly younger than a file.
func (m *merger) startedAfter(p *observed, written time.Time) bool {
	const slack = 2 * time.Second // the wall clock is slewed, and start times are rounded
	return !m.boot.IsZero() && m.boot.Add(duration(p.Start)).After(written.Add(slack))
}

// addDomains adds what libvirt lists, with the process that the runtime files tie to it, else with
// the best claim. A domain that is shut off has no process, whoever claims to be it. Where libvirt
// does not answer, or was asked before the process was met, a domain may have been started that its
// last listing shows as off; then only a process that an ordinary user cannot have started is
// believed, or one that was this domain before.
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
		case len(m.claims[d.UUID]) > 0:
			best := m.claims[d.UUID][0]
			switch {
			case m.fresh && state != Shutoff,
				best.account.System && (!m.fresh || best.found > m.asked),
				!m.fresh && m.holds(best, d.UUID):
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

const (
	hintOwn = "give each VM a UUID of its own (-uuid, or uuid= of -smbios type=1), or start it through libvirt"
	hintWho = "if this is the domain, start it through libvirt; else find out who runs the process"
)

// addClaims adds the machines that only their command line tells of: first those of system
// accounts, then as many of the others as the bounds allow, of which whoever is one already comes
// first.
func (m *merger) addClaims() {
	var ordinary []*observed
	for _, uuid := range slices.Sorted(maps.Keys(m.claims)) {
		for _, p := range m.claims[uuid] {
			switch {
			case m.used[p.PID]:
			case !p.proof && m.index[uuid] > 0:
				m.refuse(p, uuid)
			case !p.proof:
			case !p.account.System:
				ordinary = append(ordinary, p)
			case m.index[uuid] == 0:
				m.addClaim(uuid, p)
			default:
				m.addEqual(uuid, p)
			}
		}
	}
	slices.SortFunc(ordinary, func(a, b *observed) int {
		return cmp.Or(compareBool(m.holds(b, claimedUUID(b)), m.holds(a, claimedUUID(a))), older(a, b))
	})
	ofAccount, ofAccounts := map[uint32]int{}, 0
	for _, p := range ordinary {
		uuid := claimedUUID(p)
		switch {
		case m.index[uuid] > 0:
			m.refuse(p, uuid)
		case !m.past[uuid].IsZero(), m.held[uuid] != nil && !m.held[uuid].Ordinary && !m.holds(p, uuid):
			m.dispute(p, uuid, "this UUID was that of a VM that more than a command line vouched for, and an ordinary user's process claims it", hintWho)
		case ofAccount[p.account.UID] >= maxOfAccount || ofAccounts >= maxOfAccounts:
			m.dispute(p, uuid, "there are too many VMs that only command lines of ordinary users tell of",
				fmt.Sprintf("at most %d of one user and %d in all count; start them through libvirt", maxOfAccount, maxOfAccounts))
		default:
			m.addClaim(uuid, p)
			ofAccount[p.account.UID]++
			ofAccounts++
		}
	}
}

func (m *merger) addClaim(uuid string, p *observed) {
	m.add(VM{UUID: uuid, Derived: p.argv.uuid != uuid, Name: label(cmp.Or(p.argv.name, p.argv.id, uuid)),
		VCPUs: p.argv.vcpus, State: Running, Source: FromArgv, Ordinary: !p.account.System}, p, 0)
}

// addEqual adds a process of a system account whose UUID another one has: a clone of Proxmox's
// keeps the UUID of its original, but has an id of its own, which must do.
func (m *merger) addEqual(uuid string, p *observed) {
	own := derivedUUID(identity{id: p.argv.id}, p.uid)
	m.refuse(p, uuid)
	if p.argv.id == "" || m.vms[m.index[uuid]-1].Source != FromArgv || m.index[own] > 0 {
		return
	}
	m.addClaim(own, p)
	m.conflicts[len(m.conflicts)-1].vm = m.vms[len(m.vms)-1].Name
}

// refuse is what becomes of a claim to a UUID that is another's.
func (m *merger) refuse(p *observed, uuid string) {
	switch at := m.index[uuid] - 1; {
	case m.vms[at].Source != FromArgv:
		m.dispute(p, uuid, "libvirt says that this UUID is another process's, or is shut off", hintWho)
	default:
		m.dispute(p, uuid, fmt.Sprintf("process %d has this UUID with more right, or had it before", m.vms[at].Process.PID), hintOwn)
	}
}

func (m *merger) dispute(p *observed, uuid, why, hint string) {
	m.conflicts = append(m.conflicts, conflict{p.ID, p.uid, p.found, uuid, "", why, hint})
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
func (m *merger) add(vm VM, p *observed, number int) {
	if p != nil && !m.used[p.PID] {
		vm.Process = p.ID
		m.used[p.PID] = true
	}
	m.vms = append(m.vms, vm)
	m.index[vm.UUID] = len(m.vms)
	if r := m.confirmed[vm.UUID]; r.ID > 0 { // never older than the listing
		number = r.ID
	}
	m.numbers[vm.UUID] = number
}
