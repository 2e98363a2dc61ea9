// Package bpf is the exact and cheap source of CPU time: a few small BPF programs in the kernel.
//
// One goes through all tasks (threads): a look is one pass, without a system call per process,
// and reads the scheduler's own account in ns. The others are called when a task begins to end and when
// the kernel has done with it, and put its account in a ring buffer, so that processes and threads
// that end between two looks, or live only between two looks, are charged to the last nanosecond.
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

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/proc"
)

// Source is the BPF source. See the methods of cputime.Procfs for what they have in common.
type Source struct {
	probes  *probes
	domains *cputime.Domains
	cpus    *cputime.CPUs
	bootID  string

	looks     uint32           // how many were taken, this one included
	now       uint64           // ns since boot at which this look began
	began     uint64           // ns since boot at which the first look began, 0 before
	tasks     map[uint64]*task // by address of the task_struct
	order     []*task          // as they were listed in the last look
	spare     []*task          // memory for the next one's
	processes []*process       // in no order
	byID      map[proc.ID]*process
	named     []*process        // those that the Sample names, in its order
	former    cputime.Baseline  // of an earlier run, until the first look
	lives     []uint64          // in the first look: ns that each of processes ever used, by domain
	readings  []cputime.Reading // memory for Baseline

	listed  int    // size of the records of the last look, in bytes
	memory  []byte // for what the iterator writes, if it has to
	drain   *drain
	ends    []byte // records that it took from the ring buffer, not yet charged
	lost    uint64 // records that found no room in the ring buffer, ever
	sweepAt uint32 // the look at which to search for tasks whose end was lost, 0 for none
}

// New loads the programs. procfs, usually /proc, serves for the CPUs' times and the boot id alone. The
// error says what the kernel or the program's rights lack; cputime.NewProcfs is what to do without.
func New(procfs string, domains *cputime.Domains) (*Source, error) {
	return open(procfs, domains, ringSize)
}

func open(procfs string, domains *cputime.Domains, ringSize uint32) (*Source, error) {
	cpus, err := cputime.OpenCPUs(procfs, domains)
	if err != nil {
		return nil, err
	}
	probes, err := load(ringSize)
	if err != nil {
		cpus.Close()
		return nil, err
	}
	p := newSource(domains)
	p.probes, p.cpus, p.bootID = probes, cpus, proc.BootID(procfs)
	p.drain = newDrain(probes.ends)
	return p, nil
}

func newSource(domains *cputime.Domains) *Source {
	return &Source{domains: domains, tasks: make(map[uint64]*task), byID: make(map[proc.ID]*process)}
}

// Name is "bpf".
func (p *Source) Name() string { return "bpf" }

// Note says why a look costs more than it could, "" where it does not.
func (p *Source) Note() string {
	switch {
	case p.probes.noWalk != nil:
		return "looks cost some four times as much: " + p.probes.noWalk.Error()
	case p.listed > p.probes.walk.most*recordSize:
		return fmt.Sprintf("looks cost some four times as much: %v, %d", errCrowd, p.listed/recordSize)
	}
	return ""
}

// Sample looks at all processes and CPUs. Where it fails, nothing is lost: the next look covers the time.
func (p *Source) Sample(s *cputime.Sample) error {
	s.Reset(p.domains.Len())
	now, err := sinceBoot()
	if err != nil {
		return err
	}
	// What has ended is taken out first: then no address in it can be another task's by the time
	// of the iteration.
	lost, err := p.takeEnds()
	if err != nil {
		return fmt.Errorf("read the BPF ring buffer: %w", err)
	}
	listed, err := p.records()
	if err != nil {
		return fmt.Errorf("read the BPF task iterator: %w", err)
	}
	p.listed = len(listed)
	s.Faults += int(lost)
	s.Lost = int(lost)
	p.account(s, now, listed, lost > 0)
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

// takeEnds moves what has ended to p.ends, and tells how many records found no room on their way.
func (p *Source) takeEnds() (lost uint64, err error) {
	if p.ends, lost, err = p.drain.take(p.ends); err != nil {
		return 0, err
	}
	total, err := p.probes.lostRecords()
	if err != nil {
		return 0, err
	}
	lost += total - p.lost
	p.lost = total
	return lost, nil
}

// records gives the records of all tasks, by the cheapest way there is.
func (p *Source) records() ([]byte, error) {
	if w := p.probes.walk; w != nil && p.listed <= w.most*recordSize {
		records, err := w.records()
		if err == nil {
			return records, nil
		}
		if !errors.Is(err, errCrowd) {
			p.probes.walk, p.probes.noWalk = nil, errors.Join(err, w.close())
		}
	}
	return p.iterate()
}

// iterate gives the records of all tasks, read from the file of the iterator.
func (p *Source) iterate() (records []byte, err error) {
	iteration, err := p.probes.tasks.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, iteration.Close()) }()
	for n := 0; ; {
		if len(p.memory)-n < recordSize {
			p.memory = append(p.memory, make([]byte, max(len(p.memory), 1000*recordSize))...)
		}
		got, err := iteration.Read(p.memory[n:])
		n += got
		switch {
		case errors.Is(err, io.EOF):
			return p.memory[:n], nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR): // a long pass, interrupted by the kernel
		case err != nil:
			return nil, err
		}
	}
}

// Baseline gives what the next run of the program needs to go on from the last Sample. It is good
// until the next Sample.
func (p *Source) Baseline() cputime.Baseline {
	p.readings = p.readings[:0]
	for _, q := range p.processes {
		if !q.told {
			p.readings = append(p.readings, cputime.Reading{ID: q.id, Total: q.total})
		}
	}
	b := cputime.Baseline{BootID: p.bootID, Processes: p.readings}
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
	p.former = b
}

// Close takes the programs out of the kernel. The source is of no use after.
func (p *Source) Close() error {
	p.cpus.Close()
	err := p.probes.close()
	p.drain.wait()
	return err
}
