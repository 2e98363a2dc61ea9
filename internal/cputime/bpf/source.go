// Package bpf is the exact and cheap source of CPU time: two small BPF programs in the kernel.
//
// One is an iterator over all tasks (threads): a look is one pass, without a system call per process,
// and reads the scheduler's own account in ns. The other is called when the kernel has done with a
// task, and puts its last account in a ring buffer, so that processes and threads that end
// between two looks, or live only between two looks, are charged to the last nanosecond.
//
// The programs are assembled here for the running kernel, whose type information (BTF) tells where
// the fields are. They take Linux 5.8, and CAP_BPF and CAP_PERFMON, nothing else.
//
// Time is booked by task: each task's gain since the last look goes to its process, and to the
// domain of the CPU on which the task last ran. In the first look the sum over the process's tasks
// and its dead threads (signal->sum_sched_runtime) is set against the baseline of an earlier run.
package bpf

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/cputime"
)

// Source is the BPF source. See the methods of cputime.Procfs for what they have in common.
type Source struct {
	probes  *probes
	domains *cputime.Domains
	cpus    *cputime.CPUs
	bootID  string

	looks     uint64           // how many were taken, this one included
	began     uint64           // ns since boot at which the first look began, 0 before
	newest    uint64           // start time from which the first look charges a process's past
	tasks     map[uint64]*task // by address of the task_struct
	processes []*process       // in no order
	byID      map[cputime.ID]*process
	baseline  map[cputime.ID]uint64

	records []byte         // what the iterator wrote
	freed   []byte         // records from the ring buffer, not yet charged
	event   ringbuf.Record // memory for taking them out
	lost    uint64         // records that found no room in the ring buffer, ever
	sweepAt uint64         // the look at which to search for tasks whose end was lost, 0 for none
}

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
	tasks  int    // entries in Source.tasks
	ended  bool   // the kernel has done with its leader
	seen   uint64 // number of the last look that met one of its tasks
	at     int    // its index in the Sample being made
}

// patience is how many looks a task may be missing before it is forgotten, though its end was not
// told. The kernel tells it after an RCU grace period, some 10 ms, or up to 10 s where RCU is lazy.
const patience = 60

// New loads the programs. procfs, usually /proc, serves for the CPUs' times and the boot id alone. The
// error says what the kernel or the program's rights lack; cputime.NewProcfs is what to do without.
func New(procfs string, domains *cputime.Domains) (*Source, error) {
	cpus, err := cputime.OpenCPUs(procfs, domains)
	if err != nil {
		return nil, err
	}
	probes, err := load()
	if err != nil {
		cpus.Close()
		return nil, err
	}
	return &Source{
		probes:   probes,
		domains:  domains,
		cpus:     cpus,
		bootID:   cputime.BootID(procfs),
		newest:   math.MaxUint64,
		tasks:    make(map[uint64]*task),
		byID:     make(map[cputime.ID]*process),
		baseline: make(map[cputime.ID]uint64),
		records:  make([]byte, 1000*recordSize),
	}, nil
}

// Name is "bpf".
func (p *Source) Name() string { return "bpf" }

// Sample looks at all processes and CPUs. Where it fails, nothing is lost: the next look covers the time.
func (p *Source) Sample(s *cputime.Sample) error {
	s.Reset(p.domains.Len())
	first := p.began == 0
	now, err := sinceBoot()
	if err != nil {
		return err
	}
	// What has ended is taken out first: then no address in it can be another task's by the time
	// of the iteration.
	lost, err := p.drain()
	if err != nil {
		return fmt.Errorf("read the BPF ring buffer: %w", err)
	}
	listed, err := p.iterate()
	if err != nil {
		return fmt.Errorf("read the BPF task iterator: %w", err)
	}
	p.looks++
	s.Faults += int(lost)
	for _, q := range p.processes {
		p.emit(s, q)
	}
	if first {
		p.began = now
		p.freed = p.freed[:0] // the accounts of dead threads hold it
	}
	for r := range eachRecord(p.freed) {
		p.free(s, r)
	}
	p.freed = p.freed[:0]
	for r := range eachRecord(listed) {
		p.meet(s, r, first)
	}
	if first {
		p.settle(s)
	}
	p.bury(s, lost > 0)
	p.cpus.Sample(s)
	return nil
}

// sinceBoot is the clock of start times, in ns.
func sinceBoot() (uint64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("read the clock since boot: %w", err)
	}
	return uint64(ts.Nano()), nil
}

// drain moves the records in the ring buffer to p.freed, and tells how many found no room there.
func (p *Source) drain() (lost uint64, err error) {
	p.probes.freed.SetDeadline(time.Unix(1, 0)) // long past: do not wait
	for len(p.freed) < 8*ringSize {             // a bound if looks fail again and again
		if err = p.probes.freed.ReadInto(&p.event); err != nil {
			break
		}
		if len(p.event.RawSample) >= recordSize {
			p.freed = append(p.freed, p.event.RawSample[:recordSize]...)
		}
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, err
	}
	total, err := p.probes.lostRecords()
	if err != nil {
		return 0, err
	}
	lost, p.lost = total-p.lost, total
	return lost, nil
}

// iterate gives the records of all tasks.
func (p *Source) iterate() (records []byte, err error) {
	iteration, err := p.probes.tasks.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, iteration.Close()) }()
	for n := 0; ; {
		if len(p.records)-n < recordSize {
			p.records = append(p.records, make([]byte, len(p.records))...)
		}
		got, err := iteration.Read(p.records[n:])
		n += got
		switch {
		case errors.Is(err, io.EOF):
			return p.records[:n], nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR): // a long pass, interrupted by the kernel
		case err != nil:
			return nil, err
		}
	}
}

// meet books the record of a task that exists.
func (p *Source) meet(s *cputime.Sample, r record, first bool) {
	address := r.u64(atAddress)
	start, runtime := r.u64(atStart), r.u64(atRuntime)
	t := p.tasks[address]
	if t != nil && !t.is(r) { // its end was lost, and its memory is another's now
		t.process.tasks--
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
	if q.comm == "" {
		p.describe(s, q, r)
	}
	q.ended = q.ended || r.leads()
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

// describe takes on what may change in a process's life.
func (p *Source) describe(s *cputime.Sample, q *process, r record) {
	entry := &s.Processes[q.at]
	q.kernel = r.kernel()
	if comm := cputime.Name(q.comm, r.comm(), q.kernel); comm != q.comm || entry.Comm == "" {
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
// does not list any more and whose end is not told yet is kept, so that its last time is charged.
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
		if missing > patience || (q.ended && q.tasks == 0) {
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

// Baseline gives what the next run of the program needs to go on from the last Sample. It is good
// until the next Sample.
func (p *Source) Baseline() cputime.Baseline {
	b := cputime.Baseline{BootID: p.bootID, Processes: p.baseline}
	p.cpus.Baseline(&b)
	return b
}

// Restore goes on from the baseline of an earlier run. It is called before the first Sample, and does
// nothing where the baseline is of another boot, or the boots cannot be told apart.
func (p *Source) Restore(b cputime.Baseline) {
	if b.BootID == "" || b.BootID != p.bootID {
		return
	}
	p.cpus.Restore(b)
	p.baseline = b.Processes
	if len(b.Processes) > 0 {
		p.newest = cputime.Newest(b.Processes)
	}
}

// Close takes the programs out of the kernel. The source is of no use after.
func (p *Source) Close() error {
	p.cpus.Close()
	return p.probes.close()
}
