package cputime

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

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
	files   files
	dir     int // descriptor of the directory /proc
	path    string
	domains *Domains
	cpus    *CPUs

	processes []*process // known, by ascending pid
	next      []*process // the list being made, in the memory of the last but one
	pids      []int32    // the last listing of /proc
	newest    uint64     // highest start time known before this look
	started   uint64     // highest start time seen in this look

	bootID   string
	former   map[proc.ID]uint64 // Total of what an earlier run knew and this one has not read yet
	readings []Reading          // memory for Baseline

	buf  []byte
	name []byte // path under construction, ends in a NUL
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
	return newProcfs(kernel{}, procfs, domains)
}

func newProcfs(files files, procfs string, domains *Domains) (*Procfs, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("ask for the limit of open files: %w", err)
	}
	dir, err := files.open(unix.AT_FDCWD, append([]byte(procfs), 0))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", procfs, err)
	}
	cpus, err := openCPUs(files, procfs, domains)
	if err != nil {
		files.close(dir)
		return nil, err
	}
	return &Procfs{
		files:   files,
		dir:     dir,
		path:    procfs,
		domains: domains,
		cpus:    cpus,
		newest:  math.MaxUint64,
		bootID:  proc.BootID(procfs),
		buf:     make([]byte, 32<<10),
		maxOpen: max(0, int(min(limit.Cur, 1<<20))-reserved),
	}, nil
}

// Name is "procfs".
func (p *Procfs) Name() string { return "procfs" }

// Sample looks at all processes and CPUs. It fails only where it cannot list any process.
func (p *Procfs) Sample(s *Sample) error {
	s.Reset(p.domains.Len())
	listed := true
	if err := p.list(); err != nil {
		if len(p.processes) == 0 {
			return fmt.Errorf("list the processes in %s: %w", p.path, err)
		}
		s.Faults++
		listed = false
	}
	p.next = p.next[:0]
	old, pids := p.processes, p.pids
	for len(old) > 0 || (listed && len(pids) > 0) {
		switch {
		case !listed || len(pids) == 0 || (len(old) > 0 && old[0].pid < pids[0]):
			if listed && p.gone(old[0]) {
				p.exit(s, old[0])
			} else {
				if listed {
					s.Faults++ // the listing left out a process that is there
				}
				p.look(s, old[0])
			}
			old = old[1:]
		case len(old) == 0 || pids[0] < old[0].pid:
			p.look(s, &process{pid: pids[0], fd: -1, since: p.newest})
			pids = pids[1:]
		default:
			p.look(s, old[0])
			old, pids = old[1:], pids[1:]
		}
	}
	clear(p.processes) // lets go of what has ended
	p.processes, p.next = p.next, p.processes
	p.newest = p.started
	p.prune()
	p.cpus.Sample(s)
	return nil
}

// prune drops what an earlier run knew of processes that ended before the first look.
func (p *Procfs) prune() {
	for id := range p.former {
		i, there := slices.BinarySearchFunc(p.processes, id.PID, func(q *process, pid int32) int {
			return cmp.Compare(q.pid, pid)
		})
		if !there || (p.processes[i].known && p.processes[i].start != id.Start) {
			delete(p.former, id)
		}
	}
}

// list puts the process ids of /proc, ascending, into p.pids.
func (p *Procfs) list() error {
	var err error
	if p.pids, err = p.listDirectory(p.pids[:0], p.dir); err != nil {
		return err
	}
	if len(p.pids) == 0 {
		return errMalformed // at least this process is there
	}
	slices.Sort(p.pids)
	p.pids = slices.Compact(p.pids)
	return nil
}

func (p *Procfs) listDirectory(numbers []int32, fd int) ([]int32, error) {
	if err := p.files.rewind(fd); err != nil {
		return numbers, err
	}
	for {
		n, err := p.files.list(fd, p.buf)
		if err != nil || n == 0 {
			return numbers, err
		}
		if numbers, err = numbersIn(numbers, p.buf[:n]); err != nil {
			return numbers, err
		}
	}
}

// look reads a listed process, and adds it to the sample if it has used any time.
func (p *Procfs) look(s *Sample, q *process) {
	p.next = append(p.next, q)
	now, err := p.read(q)
	switch {
	case err == nil && q.missed:
		q.missed = false
		s.Faults++ // it had not gone
	case err == nil:
	case isGone(err):
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
	if q.known && q.start != now.start { // the id was used again
		p.end(s, q)
		*q = process{pid: q.pid, fd: q.fd, since: p.newest, threads: q.threads[:0], formerly: q.formerly}
	}
	p.charge(s, q, &now)
}

// charge books what q used since it was last read.
func (p *Procfs) charge(s *Sample, q *process, now *stat) {
	before := q.total
	if !q.known {
		q.known = true
		q.start = now.start
		before = now.total
		if total, ok := p.former[proc.ID{PID: q.pid, Start: q.start}]; ok {
			before = total
			delete(p.former, proc.ID{PID: q.pid, Start: q.start})
		} else if q.start >= q.since {
			before = 0
		}
		q.total = before
	}
	q.comm = Name(q.comm, now.comm, now.kernel)
	q.parent, q.kernel = now.parent, now.kernel
	if q.kernel {
		q.owner = Owner(q.comm)
	}
	p.started = max(p.started, q.start)
	if now.total <= before { // below it only by the rounding of another source's baseline
		return
	}
	q.total = now.total
	delta := now.total - before
	entry := p.emit(s, q)
	if p.domains.Len() == 1 || now.threads <= 1 || !p.split(q, delta, entry.Delta, &s.Faults) {
		entry.Delta[p.domains.OfCPU(now.cpu)] = delta
	}
}

// emit adds q as it is known, with no time used.
func (p *Procfs) emit(s *Sample, q *process) *Process {
	entry := s.Append(p.domains.Len())
	entry.ID = proc.ID{PID: q.pid, Start: q.start}
	entry.Parent = proc.ID{PID: q.parent, Start: p.startOf(q.parent)}
	entry.Comm = q.comm
	entry.Kernel = q.kernel
	entry.Owner = q.owner
	entry.Total = q.total
	return entry
}

// startOf gives the start time of a process in this look or the one before, 0 where it is not known.
func (p *Procfs) startOf(pid int32) uint64 {
	for _, list := range [][]*process{p.next, p.processes} {
		i, there := slices.BinarySearchFunc(list, pid, func(q *process, pid int32) int { return cmp.Compare(q.pid, pid) })
		if there && list[i].known {
			return list[i].start
		}
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
	for _, q := range p.processes {
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
	for _, q := range p.processes {
		if q.fd >= 0 {
			p.shut(q)
		}
	}
	p.cpus.Close()
	p.files.close(p.dir)
	return nil
}
