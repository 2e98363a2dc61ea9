package meter

import (
	"math"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
)

// accounts2 reads the accounts of a state of version 2. There, a VM had one series, what it held when it had been
// gone was kept by kind of zone, and a listed process counted from the moment that it was listed.
func (d *decoder) accounts2(s *saved) {
	zones := len(s.zones)
	for i := range ledger.RetiredVMs + 1 {
		s.fixed[i] = d.rows(zones)
	}
	s.fixed[ledger.RetiredProcesses] = make([]row, zones)
	for range d.count() {
		var a machine
		a.UUID, a.Name, a.Title = d.string(), d.string(), d.string()
		a.State, a.Source = vmmap.State(d.string()), vmmap.Source(d.string())
		a.Project, a.User, a.Flavor = d.string(), d.string(), d.string()
		a.VCPUs = int(d.uint())
		v := savedVMSeries{current: true}
		v.uuid, v.name, v.cpu = a.UUID, a.Name, d.uint()
		v.seen = time.Unix(int64(d.uint()), 0)
		if before := d.energies(); before != (snapshot.Energies{}) {
			s.retired[a.UUID] = []retired{{at: v.seen, rows: s.spread(&before)}}
		}
		v.rows = d.rows(zones)
		s.machines, s.series = append(s.machines, a), append(s.series, v)
	}
	for range d.count() {
		uuid := d.string()
		at := time.Unix(int64(d.uint()), 0)
		e := d.energies()
		s.retired[uuid] = []retired{{at: at, rows: s.spread(&e)}}
	}
	for range d.count() {
		var p savedSeries
		p.lives = true
		p.of.id = proc.ID{PID: int32(d.uint()), Start: d.uint()}
		p.series.comm = d.string()
		p.label = label{pid: p.of.id.PID, comm: p.series.comm, exe: d.string()}
		p.of.kernel = d.bool()
		p.of.cpu = d.uint()
		p.of.score = math.Float64frombits(d.uint())
		p.of.scoreAt = time.Duration(d.uint())
		p.rows = d.rows(zones)
		s.processes = append(s.processes, p)
	}
}

// spread takes energy by kind of zone apart by zone: what the row of retired VMs holds of each zone is enough.
func (s *saved) spread(e *snapshot.Energies) []row {
	rows := make([]row, len(s.zones))
	left := *e
	for i := range rows {
		for p := range rows[i] {
			take := min(left[s.zones[i].Kind][p], s.fixed[ledger.RetiredVMs][i][p])
			rows[i][p] = take
			left[s.zones[i].Kind][p] -= take
		}
	}
	return rows
}

func (d *decoder) energies() (all snapshot.Energies) {
	for k := range all {
		for p := range all[k] {
			all[k][p] = energy.Microjoules(d.uint())
		}
	}
	return all
}
