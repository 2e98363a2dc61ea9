package bpf

import "github.com/scaph/scaph/internal/cputime"

// A task is a thread as last read.
type task struct {
	process *process
	start   uint64 // ns since boot
	runtime uint64 // ns
	seen    uint64 // number of the last look that met it
}

type process struct {
	id     cputime.ID
	comm   string
	parent int32
	owner  int32
	kernel bool
	cgroup uint64
	total  uint64

	described bool   // by its leader
	tasks     int    // entries in Source.tasks
	ended     uint64 // ns since boot at which its leader's last record was met, 0 before
	seen      uint64 // number of the last look that met one of its tasks
	at        int    // its index in the Sample being made
}

// patience is how many looks a task may be missing before it is forgotten, though its end was not
// told. The kernel tells it after an RCU grace period, some 10 ms, or up to 10 s where RCU is lazy.
const patience = 60

// grace is how long, in ns, the last records of a process's threads are waited for after the leader's.
// They come from RCU callbacks of other CPUs, in any order.
const grace = 500_000_000

// account books what a look begun at the time now found: the records in p.ends, and those listed.
func (p *Source) account(s *cputime.Sample, now uint64, listed []byte, lost bool) {
	p.looks++
	p.now = now
	for _, q := range p.processes {
		p.emit(s, q)
	}
	first := p.looks == 1
	if first {
		p.began = now
		p.ends = p.ends[:0] // the accounts of dead threads hold it
	}
	for r := range eachRecord(p.ends) {
		if r.u32(atKind) == kindExit {
			p.meet(s, r, false)
		} else {
			p.free(s, r)
		}
	}
	p.ends = p.ends[:0]
	for r := range eachRecord(listed) {
		p.meet(s, r, first)
	}
	if first {
		p.settle(s)
	}
	p.bury(s, lost)
}

// meet books the record of a task that exists, be it that it begins to end.
func (p *Source) meet(s *cputime.Sample, r record, first bool) {
	address := r.u64(atAddress)
	start, runtime := r.u64(atStart), r.u64(atRuntime)
	t := p.tasks[address]
	if t != nil && !t.is(r) { // its end was lost, and its memory is another's now
		t.process.tasks--
		if t.process.tasks == 0 {
			t.process.ended = p.now
		}
		t = nil
	}
	if t == nil {
		q := p.processOf(s, r)
		if first && q.tasks == 0 {
			q.total = r.u64(atDeadRuntime)
		}
		t = &task{process: q}
		if !first && start < p.began {
			t.runtime = runtime
		}
		q.tasks++
		p.tasks[address] = t
	}
	q := t.process
	t.start = start
	t.seen, q.seen = p.looks, p.looks
	if runtime > t.runtime {
		p.charge(s, q, r, runtime-t.runtime)
		t.runtime = runtime
	}
	if r.leads() {
		p.describe(s, q, r)
	}
}

// free books the last record of a task. One that is not known lived and ended since the last look, or
// it was already unlisted in the first look and is in the account of its process's dead threads.
func (p *Source) free(s *cputime.Sample, r record) {
	address := r.u64(atAddress)
	runtime := r.u64(atRuntime)
	t := p.tasks[address]
	var q *process
	if t != nil && t.is(r) {
		q = t.process
		if runtime > t.runtime {
			p.charge(s, q, r, runtime-t.runtime)
		}
		delete(p.tasks, address)
		q.tasks--
	} else {
		if r.u64(atStart) < p.began && p.byID[r.id()] == nil {
			return
		}
		q = p.processOf(s, r)
		if r.u64(atStart) >= p.began {
			p.charge(s, q, r, runtime)
		}
	}
	if !q.described {
		p.describe(s, q, r)
	}
	if r.leads() {
		q.ended = p.now
	}
}

// is tells whether r is of the same task. Its start time changes when a thread that is not the leader
// calls execve(2): it takes on the leader's.
func (t *task) is(r record) bool {
	return t.start == r.u64(atStart) || (t.process.id.PID == r.id().PID && r.u64(atRuntime) >= t.runtime)
}

// processOf finds the task's process or adds it.
func (p *Source) processOf(s *cputime.Sample, r record) *process {
	id := r.id()
	if q := p.byID[id]; q != nil {
		return q
	}
	q := &process{id: id, seen: p.looks}
	p.processes = append(p.processes, q)
	p.byID[id] = q
	p.emit(s, q)
	if p.looks > 1 {
		p.baseline[id] = 0
	}
	return q
}

// charge adds to what the process used.
func (p *Source) charge(s *cputime.Sample, q *process, r record, used uint64) {
	q.total += used
	entry := &s.Processes[q.at]
	entry.Delta[p.domains.OfCPU(int(r.u32(atCPU)))] += used
	entry.Total = q.total
	if p.looks > 1 {
		p.baseline[q.id] = q.total
	}
}

// describe takes on what may change in a process's life. A record of the leader is best; until there
// is one, any thread's must do.
func (p *Source) describe(s *cputime.Sample, q *process, r record) {
	entry := &s.Processes[q.at]
	q.described = r.leads()
	q.kernel = r.kernel()
	if comm := cputime.Name(q.comm, r.comm(), q.kernel); comm != q.comm {
		q.comm = comm
		q.owner = 0
		if q.kernel {
			q.owner = cputime.Owner(comm)
		}
	}
	q.parent = int32(r.u32(atParent))
	q.cgroup = r.u64(atCgroup)
	entry.Comm, entry.Kernel, entry.Owner = q.comm, q.kernel, q.owner
	entry.Parent, entry.Cgroup = q.parent, q.cgroup
}

// emit adds q as it is known, with no time used.
func (p *Source) emit(s *cputime.Sample, q *process) {
	q.at = len(s.Processes)
	entry := s.Append(p.domains.Len())
	entry.ID = q.id
	entry.Parent = q.parent
	entry.Comm = q.comm
	entry.Kernel = q.kernel
	entry.Owner = q.owner
	entry.Cgroup = q.cgroup
	entry.Total = q.total
}

// settle ends the first look: so far each process was charged its tasks' whole lives.
func (p *Source) settle(s *cputime.Sample) {
	former := p.baseline
	p.baseline = make(map[cputime.ID]uint64, len(p.processes))
	for _, q := range p.processes {
		before, known := former[q.id]
		if !known && q.id.Start < p.newest {
			before = q.total
		}
		used := q.total - min(q.total, before)
		entry := &s.Processes[q.at]
		entry.Total = q.total
		var weights uint64
		for _, weight := range entry.Delta {
			weights += weight
		}
		if !cputime.Apportion(entry.Delta, weights, used) {
			entry.Delta[0] = used
		}
		p.baseline[q.id] = q.total
	}
}

// bury tells of the processes that have ended, and forgets them. A process that the iterator
// does not list any more and whose end is not told yet is kept, so that its last time is charged; and
// for a grace, as a thread's last record may come shortly after the leader's.
func (p *Source) bury(s *cputime.Sample, lost bool) {
	if lost && p.sweepAt == 0 {
		p.sweepAt = p.looks + patience + 1
	}
	living := p.processes[:0]
	for _, q := range p.processes {
		missing := p.looks - q.seen
		if missing > patience {
			p.sweepAt = p.looks
		}
		if missing > patience || (q.ended != 0 && p.now-q.ended >= grace && q.tasks == 0) {
			s.Processes[q.at].Exited = true
			delete(p.byID, q.id)
			delete(p.baseline, q.id)
			continue
		}
		living = append(living, q)
	}
	clear(p.processes[len(living):])
	p.processes = living
	if p.sweepAt != 0 && p.sweepAt <= p.looks {
		p.sweepAt = 0
		p.sweep()
	}
}

// sweep forgets tasks whose end was lost.
func (p *Source) sweep() {
	for address, t := range p.tasks {
		if p.looks-t.seen > patience {
			t.process.tasks--
			delete(p.tasks, address)
		}
	}
}
