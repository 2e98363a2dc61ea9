package cputime

import (
	"fmt"
	"math"
	"syscall"

	"github.com/scaph/scaph/internal/proc"
)

// Procfs is the source that every Linux has: /proc/PID/stat of each process, read through
// descriptors that stay open. It sees processes that live at the moment of a look; what one used
// between the last look and its end is Unseen. It sees what its /proc shows it: with hidepid, or in
// a pid namespace of its own, that is a part of the machine's processes.
//
// Errors: a process that cannot be read is a fault in that Sample, and catches up at its next good
// reading. A process that is gone is no fault.
type Procfs struct {
	dir     *proc.Dir
	domains *Domains
	cpus    *CPUs

	processes proc.Table[process]
	pids      []int32 // the last listing of /proc
	newest    uint64  // highest start time known before this look
	started   uint64  // highest start time seen in this look

	bootID   string
	former   map[proc.ID]uint64 // Total of what an earlier run knew and this one has not read yet
	readings []Reading          // memory for Baseline

	tids []int32

	open    int // descriptors of processes now open
	maxOpen int
}

// A process is what is known of one process id in the listing.
type process struct {
	pid   int32
	fd    int  // of /proc/PID/stat, -1 where not kept open
	known bool // it could be read at least once; else only pid, fd and since hold

	since    uint64 // what started before this moment is not charged for its past
	start    uint64
	total    uint64
	comm     string
	fresh    bool // no Sample has told its comm yet
	parent   int32
	owner    int32
	kernel   bool
	missed   bool // it could not be found in the last look, though it was listed
	refused  bool // it may not be read, which was counted once
	threads  []thread
	formerly []thread // the memory of the last but one list of threads
}

// reserved is how many of the descriptors that this program may open are left to its other parts.
const reserved = 256

// NewProcfs opens the source below procfs, usually /proc. It may hold one descriptor for each
// process, up to the limit of open files less some for the rest of the program; the others are
// opened at each look. (The limit is the hard one: package syscall raises the soft one at start.)
func NewProcfs(procfs string, domains *Domains) (*Procfs, error) {
	return newProcfs(proc.Kernel{}, procfs, domains)
}

func newProcfs(files proc.Files, procfs string, domains *Domains) (*Procfs, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("ask for the limit of open files: %w", err)
	}
	dir := proc.NewDir(files, procfs)
	if err := dir.Open(); err != nil {
		return nil, err
	}
	cpus, err := openCPUs(files, procfs, domains)
	if err != nil {
		dir.Close()
		return nil, err
	}
	return &Procfs{
		dir:     dir,
		domains: domains,
		cpus:    cpus,
		newest:  math.MaxUint64,
		bootID:  proc.BootID(procfs),
		maxOpen: max(0, int(min(limit.Cur, 1<<20))-reserved),
	}, nil
}

// Name is "procfs".
func (p *Procfs) Name() string { return "procfs" }

// Sample looks at all processes and CPUs. It fails only where it cannot list any process.
func (p *Procfs) Sample(s *Sample) error {
	s.Reset(p.domains.Len())
	var err error
	if p.pids, err = p.dir.PIDs(p.pids); err == nil && len(p.pids) == 0 {
		err = proc.ErrMalformed // at least this process is there
	}
	if err != nil {
		if p.processes.Len() == 0 {
			return fmt.Errorf("list the processes in %s: %w", p.dir.Path(), err)
		}
		s.Faults++
		p.pids = p.pids[:0]
		for pid := range p.processes.All() {
			p.pids = append(p.pids, pid)
		}
	}
	p.processes.Update(p.pids, func(pid int32, q *process, listed bool) *process {
		switch {
		case q == nil:
			q = &process{pid: pid, fd: -1, since: p.newest}
		case listed:
		case p.gone(q):
			p.exit(s, q)
			return nil
		default:
			s.Faults++ // the listing left out a process that is there
		}
		p.look(s, q)
		return q
	})
	p.newest = p.started
	p.prune()
	p.cpus.Sample(s)
	return nil
}

// prune drops what an earlier run knew of processes that ended before the first look.
func (p *Procfs) prune() {
	for id := range p.former {
		if q := p.processes.Find(id.PID); q == nil || q.known && q.start != id.Start {
			delete(p.former, id)
		}
	}
}

// look reads a listed process, and adds it to the sample if it has used any time.
func (p *Procfs) look(s *Sample, q *process) {
	now, err := p.read(q)
	switch {
	case err == nil && q.missed:
		q.missed = false
		s.Faults++ // it had not gone
	case err == nil:
	case proc.IsGone(err):
		q.missed = q.known
	case isRefused(err) && !q.known:
		if !q.refused {
			q.refused = true
			s.Faults++
		}
	default:
		s.Faults++
	}
	if err != nil {
		return
	}
	if q.known && q.start != now.Start { // the id was used again
		p.end(s, q)
		*q = process{pid: q.pid, fd: q.fd, since: p.newest, threads: q.threads[:0], formerly: q.formerly}
	}
	p.charge(s, q, &now)
}

// charge books what q used since it was last read.
func (p *Procfs) charge(s *Sample, q *process, now *proc.Stat) {
	before := q.total
	if !q.known {
		q.known = true
		q.start = now.Start
		before = now.CPUTime
		if total, ok := p.former[proc.ID{PID: q.pid, Start: q.start}]; ok {
			before = total
			delete(p.former, proc.ID{PID: q.pid, Start: q.start})
		} else if q.start >= q.since {
			before = 0
		}
		q.total = before
	}
	if comm := proc.Name(q.comm, now.Comm, now.Kernel); comm != q.comm {
		q.comm, q.fresh = comm, true
	}
	q.parent, q.kernel = now.Parent, now.Kernel
	if q.kernel {
		q.owner = proc.Owner(q.comm)
	}
	p.started = max(p.started, q.start)
	if now.CPUTime <= before { // below it only by the rounding of another source's baseline
		return
	}
	q.total = now.CPUTime
	delta := now.CPUTime - before
	entry := p.emit(s, q)
	if p.domains.Len() == 1 || now.Threads <= 1 || !p.split(q, delta, entry.Delta, &s.Faults) {
		entry.Delta[p.domains.OfCPU(now.CPU)] = delta
	}
}

// emit adds q as it is known, with no time used.
func (p *Procfs) emit(s *Sample, q *process) *Process {
	entry := s.Append(p.domains.Len())
	entry.ID = proc.ID{PID: q.pid, Start: q.start}
	entry.Parent = proc.ID{PID: q.parent, Start: p.startOf(q.parent)}
	entry.Comm = q.comm
	entry.Fresh, q.fresh = q.fresh, false
	entry.Kernel = q.kernel
	entry.Owner = q.owner
	entry.Total = q.total
	return entry
}

// startOf gives the start time of a process in this look or the one before, 0 where it is not known.
func (p *Procfs) startOf(pid int32) uint64 {
	if q := p.processes.Find(pid); q != nil && q.known {
		return q.start
	}
	return 0
}

// exit forgets a process that ended.
func (p *Procfs) exit(s *Sample, q *process) {
	if q.fd >= 0 {
		p.shut(q)
	}
	if q.known {
		p.end(s, q)
	}
}

func (p *Procfs) end(s *Sample, q *process) { p.emit(s, q).Exited = true }

// Baseline gives what the next run of the program needs to go on from the last Sample. It is good
// until the next Sample.
func (p *Procfs) Baseline() Baseline {
	p.readings = p.readings[:0]
	for _, q := range p.processes.All() {
		if q.known {
			p.readings = append(p.readings, Reading{proc.ID{PID: q.pid, Start: q.start}, q.total})
		}
	}
	for id, total := range p.former {
		p.readings = append(p.readings, Reading{id, total})
	}
	b := Baseline{BootID: p.bootID, Processes: p.readings}
	p.cpus.Baseline(&b)
	return b
}

// Restore goes on from the baseline of an earlier run. It is called before the first Sample, and does
// nothing where the baseline is of another boot, or the boots cannot be told apart.
func (p *Procfs) Restore(b Baseline) {
	if b.BootID == "" || b.BootID != p.bootID {
		return
	}
	p.cpus.Restore(b)
	if len(b.Processes) > 0 {
		p.former, p.newest = b.Totals(), b.Newest()
	}
}

// Close gives back all descriptors. The source is of no use after.
func (p *Procfs) Close() error {
	for _, q := range p.processes.All() {
		if q.fd >= 0 {
			p.shut(q)
		}
	}
	p.cpus.Close()
	p.dir.Close()
	return nil
}
