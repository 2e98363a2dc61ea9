package meter

import (
	"slices"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/snapshot"
)

// Tick measures once and publishes. It is called by Run, and by tests; never by two at once.
func (m *Meter) Tick() {
	begin := m.Clock.Boot()
	m.Sensor.Read(m.readings)
	now, wall := m.Clock.Boot(), m.Clock.Now()
	m.expose(now)
	m.waiting = nil
	at := moment{boot: now, asleep: m.Clock.Asleep()}
	m.settleUnsplit(at)

	if err := m.CPU.Sample(&m.sample); err != nil {
		// Without CPU time nothing can be split: the zones wait for the next sample, which
		// covers this while too. Until then nobody knows who draws what.
		m.count("cputime", 1)
		for _, z := range m.zones {
			m.quiet(z)
		}
		m.Log.Warn("CPU time could not be read; this tick's energy is charged at the next", "error", err)
	} else {
		m.count("cputime", m.sample.Faults)
		m.warnOfLost()
		if m.VMs != nil {
			m.notice()
			m.follow(m.VMs.Current(), wall)
		}
		if m.restored {
			m.restored = false
			m.endVanished()
		}
		m.charge(now)
		m.compareMirrors()
		for _, z := range m.zones {
			m.settle(z, at)
		}
		m.endIdle(now)
		m.closeEnded()
		m.list(now)
		m.retireSeries()
		m.sumRest()
		m.save() // before anybody can see what it covers
	}
	publish := m.publishable(now)
	m.seq++
	s := m.snapshot(wall)
	m.duration.Observe(m.Clock.Boot() - begin)
	s.Duration = m.duration
	if m.published = publish; publish {
		m.publish(s)
	} else {
		m.waiting = s
	}
}

// A moment is a time on Clock.Boot, and what Clock.Asleep said then.
type moment struct{ boot, asleep time.Duration }

// warnOfLost tells once that more processes end than the source of CPU time can keep until the tick.
func (m *Meter) warnOfLost() {
	if m.sample.Lost == 0 || m.lossy {
		return
	}
	m.lossy = true
	m.Log.Warn("ends of processes were lost, and their last CPU time is unseen; a shorter interval loses fewer",
		"lost", m.sample.Lost, "interval", m.Interval)
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
	m.errors = append(m.errors, snapshot.ErrorCount{Component: component, Count: uint64(n)})
}

func (m *Meter) snapshot(wall time.Time) *snapshot.Snapshot {
	s := &snapshot.Snapshot{
		Seq: m.seq, Time: wall, Interval: m.Interval,
		CPUSource:   m.CPU.Name(),
		Zones:       make([]snapshot.Zone, 0, len(m.zones)+len(m.unsplit)),
		Basis:       m.basis(),
		LedgerError: m.ledger.Audit(),
		Errors:      slices.Clone(m.errors),
		Duration:    m.duration,
		Lateness:    m.lateness,
		Created:     m.created,
		Retired:     snapshot.Retired{VMs: m.energiesOf(ledger.RetiredVMs), Processes: m.energiesOf(ledger.RetiredProcesses)},
	}
	if m.VMs != nil {
		s.Conflicts = m.VMs.Conflicts()
		if n := m.VMs.Faults(); n > 0 {
			s.Errors = append(s.Errors, snapshot.ErrorCount{Component: "vmmap", Count: n})
		}
	}
	for _, f := range m.Faults {
		if n := f.Count(); n > 0 {
			s.Errors = append(s.Errors, snapshot.ErrorCount{Component: f.Component, Count: n})
		}
	}
	if m.machines.current != nil {
		s.VMSource = m.machines.current.Note
	}
	m.showZones(s)
	m.showMachines(s)
	m.showProcesses(s)
	m.showUnattributed(s)
	return s
}

func (m *Meter) showMachines(s *snapshot.Snapshot) {
	s.VMs = make([]snapshot.VM, len(m.machines.ordered))
	for i, a := range m.machines.ordered {
		s.VMs[i] = snapshot.VM{
			UUID: a.UUID, Name: a.Name, Title: a.Title,
			State: string(a.State), Present: a.present, Source: string(a.Source),
			Project: a.Project, User: a.User, Flavor: a.Flavor,
			Share: a.Share, Publish: a.Publish,
			VCPUs: a.VCPUs, PID: a.VM.Process.PID,
			Energy: m.energiesOf(a.series.slot), Before: m.before(a),
			CPU: time.Duration(a.series.cpu), Power: m.powerOf(a.series.slot), Created: a.series.created,
		}
	}
	for _, v := range m.machines.series {
		if !v.current() {
			s.FormerVMs = append(s.FormerVMs, snapshot.FormerVM{
				UUID: v.machine.UUID, Name: v.name, Energy: m.energiesOf(v.slot), CPU: time.Duration(v.cpu), Created: v.created,
			})
		}
	}
}

func (m *Meter) showProcesses(s *snapshot.Snapshot) {
	for i, z := range m.zones {
		for p := range m.rest[i] {
			s.Rest[z.Kind][p] += m.rest[i][p]
		}
	}
	s.RestPower = m.powerOf(ledger.Ended)
	s.Processes = make([]snapshot.Process, 0, m.showed+m.showed/8+64)
	for _, a := range m.accounts {
		power := m.powerOf(a.slot)
		if !a.counted() {
			s.RestPower += power
		}
		if power == 0 && a.series == nil {
			continue
		}
		p := snapshot.Process{
			PID: a.id.PID, Start: a.id.Start, Comm: a.comm, Kernel: a.kernel,
			CPU: time.Duration(a.cpu), Power: power,
		}
		if a.series != nil {
			p.Listed, p.Exe = true, a.series.exe
		}
		if a.counted() {
			e := m.energiesOf(a.slot)
			p.Energy = m.inBasis(&e)
		}
		s.Processes = append(s.Processes, p)
	}
	m.showed = len(s.Processes)
	s.Series = make([]snapshot.ProcessSeries, len(m.series))
	for i, v := range m.series {
		s.Series[i] = snapshot.ProcessSeries{PID: v.pid, Comm: v.label.comm, Exe: v.exe, Created: v.created}
		if v.counts {
			e := m.energiesOf(v.slot)
			s.Series[i].Energy = m.inBasis(&e)
		}
	}
}

// sumRest sums what each zone gave the processes that do not count in a series.
func (m *Meter) sumRest() {
	m.rest = append(m.rest[:0], m.rowsOf(ledger.Ended)...)
	for i, z := range m.zones {
		for _, a := range m.accounts {
			if !a.counted() {
				active, idle := m.ledger.Energy(a.slot, z.index)
				m.rest[i][snapshot.Active] += active
				m.rest[i][snapshot.Idle] += idle
			}
		}
	}
}

// inBasis sums the kinds of zone that count.
func (m *Meter) inBasis(e *snapshot.Energies) energy.Microjoules { return e.In(energy.Basis(m.Psys)) }

// showUnattributed sums the rows that nobody is charged for, for each kind of zone that counts.
func (m *Meter) showUnattributed(s *snapshot.Snapshot) {
	for _, row := range []struct {
		slot   ledger.Slot
		reason string
	}{{ledger.Idle, "idle"}, {ledger.Unreserved, "unreserved"}, {ledger.Unseen, "unseen"}} {
		e := m.energiesOf(row.slot)
		for k := range s.Basis.All() {
			s.Unattributed = append(s.Unattributed, snapshot.Unattributed{Kind: k, Reason: row.reason, Energy: e.Of(k)})
		}
	}
}
