package meter

import (
	"slices"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
)

// Tick measures once and publishes. It is called by Run, and by tests; never by two at once.
func (m *Meter) Tick() {
	begin := m.Clock.Boot()
	m.Sensor.Read(m.readings)
	now, wall := m.Clock.Boot(), m.Clock.Now()

	if err := m.CPU.Sample(&m.sample); err != nil {
		// Without CPU time nothing can be split: the zones wait for the next sample, which
		// covers this while too.
		m.count("cputime", 1)
		m.Log.Warn("CPU time could not be read; this tick's energy is charged at the next", "error", err)
	} else {
		m.count("cputime", m.sample.Faults)
		if m.VMs != nil {
			m.follow(m.VMs.Current(), wall)
		}
		if m.restored {
			m.restored = false
			m.endVanished()
		}
		m.charge(now)
		for _, z := range m.zones {
			m.settle(z, now)
		}
		m.endIdle(now)
		m.closeEnded()
		m.list(now)
		m.save() // before anybody can see what it covers
	}
	m.seq++
	s := m.snapshot(wall)
	m.duration.Observe(m.Clock.Boot() - begin)
	s.Duration = m.duration
	m.publish(s)
}

// count adds to a component's errors.
func (m *Meter) count(component string, n int) {
	if n <= 0 {
		return
	}
	for i := range m.errors {
		if m.errors[i].Component == component {
			m.errors[i].Count += uint64(n)
			return
		}
	}
	m.errors = append(m.errors, ErrorCount{component, uint64(n)})
}

func (m *Meter) snapshot(wall time.Time) *Snapshot {
	s := &Snapshot{
		Seq: m.seq, Time: wall, Interval: m.Interval,
		CPUSource:   m.CPU.Name(),
		Zones:       make([]Zone, len(m.zones)),
		LedgerError: m.ledger.Audit(),
		Errors:      slices.Clone(m.errors),
		Duration:    m.duration,
		Lateness:    m.lateness,
		Gone:        m.energiesOf(ledger.Gone),
	}
	if m.VMs != nil {
		s.Conflicts = m.VMs.Conflicts()
		if n := m.VMs.Faults(); n > 0 {
			s.Errors = append(s.Errors, ErrorCount{"vmmap", n})
		}
	}
	if m.machines.current != nil {
		s.VMSource = m.machines.current.Note
	}
	for i, z := range m.zones {
		s.Zones[i] = Zone{
			Zone: z.Zone, Total: m.ledger.Total(z.index), Power: z.power, Attributed: z.basis,
			Failed: z.failed, Missing: z.reading == ghost, WrapSeconds: z.wrapSeconds(), Uncertain: z.uncertain, Resets: z.resets,
		}
		if z.basis {
			s.Host.Energy += s.Zones[i].Total
			s.Host.Power += z.power
			s.Host.Source = z.Source
		}
		s.Simulated = s.Simulated || z.reading != ghost && z.Source == energy.SourceEstimate
	}
	m.showMachines(s)
	m.showProcesses(s)
	m.showUnattributed(s)
	return s
}

func (m *Meter) showMachines(s *Snapshot) {
	s.VMs = make([]VM, len(m.machines.ordered))
	for i, a := range m.machines.ordered {
		s.VMs[i] = VM{
			UUID: a.UUID, Name: a.Name, Title: a.Title,
			State: string(a.State), Present: a.present, Source: string(a.Source),
			Project: a.Project, User: a.User, Flavor: a.Flavor,
			Share: a.Share, Publish: a.Publish,
			VCPUs: a.VCPUs, PID: a.VM.Process.PID,
			Energy: m.energiesOf(a.slot), Before: a.before,
			CPU: time.Duration(a.cpu), Power: m.powerOf(a.slot),
		}
	}
}

func (m *Meter) showProcesses(s *Snapshot) {
	s.Rest = m.energiesOf(ledger.Ended)
	s.RestPower = m.powerOf(ledger.Ended)
	s.Processes = make([]Process, 0, len(m.listed)+len(m.ended)+64)
	for _, a := range m.accounts {
		power := m.powerOf(a.slot)
		p := Process{
			PID: a.id.PID, Start: a.id.Start, Comm: a.comm, Kernel: a.kernel,
			CPU: time.Duration(a.cpu), Power: power,
		}
		if a.series != nil {
			p.Listed, p.Exe = true, a.series.exe
			before, all := m.energiesIn(a.series.base), m.energiesOf(a.slot)
			s.Rest.add(before)
			p.Energy = m.inBasis(&all) - m.inBasis(&before)
		} else {
			s.Rest.add(m.energiesOf(a.slot))
			s.RestPower += power
			if power == 0 {
				continue
			}
		}
		s.Processes = append(s.Processes, p)
	}
}

// inBasis sums the kinds of zone that count.
func (m *Meter) inBasis(e *Energies) (sum energy.Microjoules) {
	for k := range energy.Kind(energy.Kinds) {
		if isBasis(k, m.Psys) {
			sum += e.Of(k)
		}
	}
	return sum
}

// showUnattributed sums the rows that nobody is charged for, for each kind of zone that counts.
func (m *Meter) showUnattributed(s *Snapshot) {
	for _, row := range []struct {
		slot   ledger.Slot
		reason string
	}{{ledger.Idle, "idle"}, {ledger.Unreserved, "unreserved"}, {ledger.Unseen, "unseen"}} {
		e := m.energiesOf(row.slot)
		for k := range energy.Kind(energy.Kinds) {
			if isBasis(k, m.Psys) && m.hasKind(k) {
				s.Unattributed = append(s.Unattributed, Unattributed{Kind: k, Reason: row.reason, Energy: e.Of(k)})
			}
		}
	}
}

func (m *Meter) hasKind(k energy.Kind) bool {
	return slices.ContainsFunc(m.zones, func(z *zone) bool { return z.Kind == k })
}
