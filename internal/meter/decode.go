package meter

import (
	"math"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/vmmap"
)

// The records of a state, as state.go writes them.

func (d *decoder) skip(n int) { d.b = d.b[min(n, len(d.b)):] }

func (d *decoder) baseline(b *cputime.Baseline) {
	for range d.count() {
		b.Busy, b.Idle = append(b.Busy, d.uint()), append(b.Idle, d.uint())
	}
	b.Processes = make([]cputime.Reading, d.count())
	for i := range b.Processes {
		b.Processes[i] = cputime.Reading{ID: proc.ID{PID: int32(d.uint()), Start: d.uint()}, Total: d.uint()}
	}
}

func (d *decoder) zone() (z savedZone) {
	z.Path, z.Name = d.string(), d.string()
	z.Kind = energy.Kind(min(d.uint(), energy.Kinds-1))
	z.Package, z.Die = int(d.uint())-1, int(d.uint())-1
	z.Parent = d.string()
	z.Range = energy.Microjoules(d.uint())
	z.Source = d.string()
	z.known = d.bool()
	z.raw = energy.Microjoules(d.uint())
	z.movedAt = time.Duration(d.uint())
	z.floor = energy.Watts(math.Float64frombits(d.uint()))
	z.peak = energy.Watts(math.Float64frombits(d.uint()))
	z.uncertain, z.resets = d.uint(), d.uint()
	z.asleepAt = unknownSleep
	if d.version >= 3 {
		z.created = d.time()
		z.asleepAt, z.carry, z.agreed = time.Duration(d.uint()), d.uint(), d.uint()
	}
	return z
}

func (d *decoder) machine() (a machine) {
	a.UUID, a.Name, a.Title = d.string(), d.string(), d.string()
	a.State, a.Source = vmmap.State(d.string()), vmmap.Source(d.string())
	a.Project, a.User, a.Flavor = d.string(), d.string(), d.string()
	a.VCPUs = int(d.uint())
	a.present, a.Derived, a.Ordinary = d.bool(), d.bool(), d.bool()
	a.Share, a.Publish = d.string(), d.string()
	a.VM.Process = proc.ID{PID: int32(d.uint()), Start: d.uint()}
	return a
}

func (d *decoder) vmSeries(zones int) (s savedVMSeries) {
	s.uuid, s.name = d.string(), d.string()
	s.current = d.bool()
	s.created = d.time()
	s.seen = time.Unix(int64(d.uint()), 0)
	s.cpu = d.uint()
	s.rows = d.rows(zones)
	return s
}

func (d *decoder) retired(zones int) (r retired) {
	r.name = d.string()
	r.cpu = d.uint()
	r.created = d.time()
	r.at = time.Unix(int64(d.uint()), 0)
	r.ordinary = d.bool()
	r.rows = d.rows(zones)
	return r
}

func (d *decoder) series(zones int) (s savedSeries) {
	s.series.comm = d.string()
	s.label = label{pid: int32(d.uint()), comm: d.string(), exe: d.string()}
	s.created = d.time()
	s.since = time.Duration(d.uint())
	if s.lives = d.bool(); s.lives {
		s.of = d.process()
	}
	s.rows = d.rows(zones)
	return s
}

func (d *decoder) process() (a process) {
	a.id = proc.ID{PID: int32(d.uint()), Start: d.uint()}
	a.kernel = d.bool()
	a.cpu = d.uint()
	a.score = math.Float64frombits(d.uint())
	a.scoreAt = time.Duration(d.uint())
	return a
}

// time reads a time; zero where it is not known.
func (d *decoder) time() time.Time {
	ns := d.uint()
	if ns == 0 || ns > math.MaxInt64 {
		return time.Time{}
	}
	return time.Unix(0, int64(ns))
}

func (d *decoder) rows(zones int) []row {
	rows := make([]row, zones)
	for i := range rows {
		rows[i] = row{energy.Microjoules(d.uint()), energy.Microjoules(d.uint())}
	}
	return rows
}
