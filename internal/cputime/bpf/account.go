package bpf

import (
	"math"
	"slices"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/proc"
)

// A task is a thread as last read. There may be tens of thousands of tasks and processes, so both are kept small.
type task struct {
	process *process
	address uint64 // of its task_struct
	start   uint64 // ns since boot
	runtime uint64 // ns
	seen    uint32 // number of the last look that met it
}

type process struct {
	id     proc.ID
	comm   string // "" until it is shown for the first time
	cgroup uint64
	total  uint64
	ended  uint64 // ns since boot at which its leader's last record was met, 0 before
	parent proc.ID
	owner  int32
	tasks  int32  // entries in Source.tasks
	seen   uint32 // number of the last look that met one of its tasks
	leader int32  // index among the listed records of the leader's, in the look that saw it
	led    uint32 // number of that look
	shown  uint32 // number of the last look whose Sample names it
	at     int32  // its index there; in the first look, that in Source.processes

	kernel    bool
	described bool // by its leader
	told      bool // that it has ended
	fresh     bool // no Sample has told its comm yet
}

// patience is how many looks a task may be missing before it is forgotten, though its end was not
// told. The kernel tells it after an RCU grace period, some 10 ms, or up to 10 s where RCU is lazy.
const patience = 60

// absence is how many looks a process may be missing before it is told to have ended. All that live are listed, zombies
// too, so one that is not has ended; at the look after its end that is usually told in the better way.
const absence = 2

// grace is how long, in ns, the last records of a process's threads are waited for after the leader's.
// They come from RCU callbacks of other CPUs, in any order.
const grace = 500_000_000

// account books what a look begun at the time now found: the records in p.ends, and those listed.
func (p *Source) account(s *cputime.Sample, now uint64, listed []byte, lost bool) {
	p.looks++
	p.now = now
	p.named = p.named[:0]
	first := p.looks == 1
	if first {
		p.began = now
		p.ends = p.ends[:0] // the accounts of dead threads hold it
	}
	for r := range eachRecord(p.ends) {
		if r.u32(atKind) == kindExit {
			p.meet(s, r, nil)
		} else {
			p.free(s, r)
		}
	}
	if p.ends = p.ends[:0]; cap(p.ends) > ringSize {
		p.ends = nil // it was a storm
	}
	p.list(s, listed)
	if first {
		p.settle(s)
	}
	p.bury(s, lost)
	p.describe(s, listed)
}

// lookAhead is how many tasks may have ended side by side in the kernel's list before those after them are looked
// up for one look.
const lookAhead = 64

// list books the records of all tasks. The kernel lists them in the order in which they began, so that most are met
// where they were in the last look, and need not be looked up.
func (p *Source) list(s *cputime.Sample, listed []byte) {
	last, former := p.order, p.order
	p.order = p.spare[:0]
	for r := range eachRecord(listed) {
		var expected *task
		if len(former) > 0 {
			expected = former[0]
		}
		t := p.meet(s, r, expected)
		if i := slices.Index(former[:min(len(former), lookAhead)], t); i >= 0 {
			former = former[i+1:]
		}
		if r.leads() {
			t.process.leader, t.process.led = int32(len(p.order)), p.looks
		}
		p.order = append(p.order, t)
	}
	clear(last) // lets go of what has ended
	p.spare = last
}

// meet books the record of a task that exists, be it that it begins to end. It is likely the expected one.
func (p *Source) meet(s *cputime.Sample, r record, expected *task) *task {
	address := r.u64(atAddress)
	start, runtime := r.u64(atStart), r.u64(atRuntime)
	t := expected
	if t == nil || t.address != address {
		t = p.tasks[address]
	}
	if t != nil && !t.is(r) { // its end was lost, and its memory is another's now
		p.forget(t)
		if t.process.tasks == 0 {
			t.process.ended = p.now
		}
		t = nil
	}
	if t == nil {
		q := p.processOf(r)
		if p.looks == 1 && q.tasks == 0 {
			q.total = r.u64(atDeadRuntime)
		}
		t = &task{process: q, address: address}
		if p.looks > 1 && start < p.began {
			t.runtime = runtime
		}
		q.tasks++
		p.tasks[address] = t
	}
	t.start = start
	t.seen, t.process.seen = p.looks, p.looks
	if runtime > t.runtime {
		p.charge(s, t.process, r, runtime-t.runtime)
		t.runtime = runtime
	}
	if r.u32(atKind) == kindExit {
		t.process.learn(r)
	}
	return t
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
		p.forget(t)
	} else {
		if r.u64(atStart) < p.began && p.byID[r.id()] == nil {
			return
		}
		q = p.processOf(r)
		if r.u64(atStart) >= p.began {
			p.charge(s, q, r, runtime)
		}
	}
	if !q.described { // what the record points to may be another's by now
		q.learn(r)
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
func (p *Source) processOf(r record) *process {
	id := r.id()
	q := p.byID[id]
	if q == nil {
		q = &process{id: id, seen: p.looks, at: int32(len(p.processes))}
		p.processes = append(p.processes, q)
		p.byID[id] = q
		if p.looks == 1 {
			p.lives = append(p.lives, make([]uint64, p.domains.Len())...)
		}
	}
	return q
}

// charge adds to what the process used.
func (p *Source) charge(s *cputime.Sample, q *process, r record, used uint64) {
	q.total += used
	domain := p.domains.OfCPU(int(r.u32(atCPU)))
	if p.looks == 1 {
		p.lives[int(q.at)*p.domains.Len()+domain] += used
	} else {
		p.name(s, q).Delta[domain] += used
	}
	if !r.leads() { // else the record is learnt from where it was met
		q.learn(r)
	}
}

// learn takes on what may change in a process's life. A record of the leader is best; until there is one, any
// thread's must do.
func (q *process) learn(r record) {
	if q.described && !r.leads() {
		return
	}
	q.described = r.leads()
	q.kernel = r.kernel()
	if comm := proc.Name(q.comm, r.comm(), q.kernel); comm != q.comm {
		q.comm, q.fresh = comm, true
		q.owner = 0
		if q.kernel {
			q.owner = proc.Owner(comm)
		}
	}
	q.parent = r.parent()
	q.cgroup = r.u64(atCgroup)
}

// name gives q's entry in the Sample, to which it is added if it is not there yet.
func (p *Source) name(s *cputime.Sample, q *process) *cputime.Process {
	if q.shown != p.looks {
		q.shown, q.at = p.looks, int32(len(s.Processes))
		p.named = append(p.named, q)
		return s.Append(p.domains.Len())
	}
	return &s.Processes[q.at]
}

// describe fills in the entries of the Sample.
func (p *Source) describe(s *cputime.Sample, listed []byte) {
	for i, q := range p.named {
		if q.led == p.looks {
			at := int(q.leader) * recordSize
			q.learn(record(listed[at : at+recordSize]))
		}
		entry := &s.Processes[i]
		entry.ID, entry.Total = q.id, q.total
		entry.Parent, entry.Comm, entry.Cgroup = q.parent, q.comm, q.cgroup
		entry.Kernel, entry.Owner, entry.Exited = q.kernel, q.owner, q.told
		entry.Fresh, q.fresh = q.fresh, false
		if q.told {
			q.total = 0 // what is told later is by itself
		}
	}
	clear(p.named) // lets go of what has ended
}

// settle ends the first look, in which each process was charged its tasks' whole lives.
func (p *Source) settle(s *cputime.Sample) {
	former, newest := p.former.Totals(), p.former.Newest()
	if len(former) == 0 {
		newest = math.MaxUint64
	}
	p.former = cputime.Baseline{}
	for i, q := range p.processes {
		before, known := former[q.id]
		if !known && q.id.Start < newest {
			before = q.total
		}
		used := q.total - min(q.total, before)
		if used == 0 {
			continue
		}
		delta := p.name(s, q).Delta
		var sum uint64
		for domain := range delta {
			delta[domain] = p.lives[i*len(delta)+domain]
			sum += delta[domain]
		}
		if !cputime.Apportion(delta, sum, used) {
			delta[0] = used
		}
	}
	p.lives = nil
}

// bury tells of the processes that have ended, and forgets them. A process that is not listed any more and whose end the
// kernel does not tell is kept, so that its last time is charged, should it still be told; and each is
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
		waited := q.ended == 0 || p.now-q.ended >= grace
		over := missing > patience || (q.ended != 0 && waited && q.tasks == 0)
		switch {
		case missing == 0 && !over:
			q.told = false // it was not listed, and lives
		case !q.told && (over || waited && missing >= absence):
			q.told = true
			p.name(s, q)
		}
		if over {
			delete(p.byID, q.id)
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
	for _, t := range p.tasks {
		if p.looks-t.seen > patience {
			p.forget(t)
		}
	}
}

// forget lets go of a task. It may stand in Source.order for one look more, where it is no longer what is expected.
func (p *Source) forget(t *task) {
	delete(p.tasks, t.address)
	t.address = 0 // where no task is
	t.process.tasks--
}
