// Package cputime tells how much CPU time every process of the machine used since the last look,
// by the energy domain (CPU package, or die) on which it ran.
//
// A source (Procfs here, BPF in the package bpf below) fills a Sample at each tick. It keeps what it
// last read of each process, so that a Sample holds differences, and it can be given the baseline
// of an earlier run of the program: kernel counters are cumulative, so a restart is just a long tick.
//
// Every nanosecond of a process is charged at most once. A process seen for the first time is charged
// all that it used so far if it started after the previous look (its start time is not before the
// newest one known by then); if it is older it was hidden or unreadable before, nobody can tell when
// it used its time, and counting starts now. The first look without a baseline charges nothing.
//
// Busy time of the CPUs that no process explains is Unseen; CPUs tells how it is told from rounding.
package cputime

import "github.com/scaph/scaph/internal/proc"

// A Process is one process (a thread group) or kernel thread in a Sample.
type Process struct {
	proc.ID
	Parent proc.ID // its parent; Start is 0 where that is not known
	Comm   string  // the kernel's name of it, at most 15 bytes for user processes; not escaped
	Kernel bool    // a kernel thread
	Owner  int32   // for a kernel thread that works for one process (vhost-<pid>): that process; else 0
	Fresh  bool    // no Sample named it before, or it has another name since
	Exited bool    // it ended since the last Sample, and this is the last one that names it (but see below)
	Cgroup uint64  // id (inode number) of its cgroup v2 directory, 0 where the source cannot tell
	Total  uint64  // ns of CPU time since it started, all its threads, dead ones included

	// A process that lived and ended between two Samples is named once, with Exited set. In rare cases the
	// last time of one of its threads is told later: then it is named, with Exited set, again, and Total is
	// of that thread alone. Delta is exact each time.

	// Delta is the CPU time in ns since the last Sample, by domain. The slice belongs to the Sample
	// and is overwritten by the next one. All zero only for a process that ended without using any more.
	Delta []uint64
}

// A Sample is what a source saw between two looks. The caller keeps one and hands it to the
// source again and again, so that a steady state allocates nothing.
type Sample struct {
	// Processes are those that used CPU time since the last Sample, and those that ended: what idles is not
	// named, so that it costs whoever reads the Sample nothing. Baseline has all that live.
	Processes []Process

	// By domain, in ns since the last Sample; all zero in a first Sample without a baseline, and where
	// /proc/stat could not be read (a fault; the next good look covers that time).
	Busy     []uint64 // CPUs not idle (user, nice, system, irq, softirq of /proc/stat, proc_stat(5))
	Capacity []uint64 // Busy + idle + iowait; not steal, which is time that this machine did not have
	Unseen   []uint64 // busy, but explained by no process above

	Faults int // things that could not be read or parsed during this look; each was skipped
	Lost   int // of these, ends of processes and threads that there was no room for; their last time is Unseen
}

// Reset empties s for a look by the given number of domains, and keeps its memory.
func (s *Sample) Reset(domains int) {
	s.Processes = s.Processes[:0]
	s.Faults, s.Lost = 0, 0
	for _, sums := range []*[]uint64{&s.Busy, &s.Capacity, &s.Unseen} {
		*sums = zeroed(*sums, domains)
	}
}

// Append adds a process whose Delta holds a zero for each domain, and returns it to be filled in.
// The pointer is good until the next Append.
func (s *Sample) Append(domains int) *Process {
	n := len(s.Processes)
	if n < cap(s.Processes) {
		s.Processes = s.Processes[:n+1]
	} else {
		s.Processes = append(s.Processes, Process{})
	}
	p := &s.Processes[n]
	*p = Process{Delta: zeroed(p.Delta, domains)}
	return p
}

// zeroed gives n zeroes, in the memory of old where they fit.
func zeroed(old []uint64, n int) []uint64 {
	if cap(old) < n {
		return make([]uint64, n)
	}
	old = old[:n]
	clear(old)
	return old
}

// A Baseline is what a source must know to go on from an earlier run: the readings that its last
// Sample was computed up to. What a source returns shares the source's memory, so that taking it at
// every tick allocates nothing: it is good until the next Sample.
type Baseline struct {
	BootID    string    // /proc/sys/kernel/random/boot_id; a baseline of another boot is ignored
	Processes []Reading // of each living process, in no order
	Busy      []uint64  // cumulative, by CPU number, ns
	Idle      []uint64  // cumulative, by CPU number, ns
}

// A Reading is what a process had used when it was last read.
type Reading struct {
	proc.ID
	Total uint64 // ns of CPU time since it started
}

// Newest gives the highest start time of the processes, 0 where there are none.
func (b *Baseline) Newest() uint64 {
	var newest uint64
	for _, r := range b.Processes {
		newest = max(newest, r.Start)
	}
	return newest
}

// Totals gives the readings by process.
func (b *Baseline) Totals() map[proc.ID]uint64 {
	totals := make(map[proc.ID]uint64, len(b.Processes))
	for _, r := range b.Processes {
		totals[r.ID] = r.Total
	}
	return totals
}
