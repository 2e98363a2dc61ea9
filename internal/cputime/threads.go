package cputime

import (
	"math/bits"

	"github.com/scaph/scaph/internal/proc"
)

// A thread of a process, as last read.
type thread struct {
	tid   int32
	start uint64
	total uint64
}

// split divides delta, what the process q used since it was last read, among the domains on
// which its threads last ran, in proportion to what each thread used. It returns false where no thread
// can be found that used any. The parts sum up to delta exactly; what threads used that have ended
// since is in delta and goes in the same proportion. Threads that cannot be read are added to faults.
func (p *Procfs) split(q *process, delta uint64, by []uint64, faults *int) bool {
	var err error
	if p.tids, err = p.dir.Threads(p.tids, q.pid); err != nil {
		countFault(faults, err)
		return false
	}
	q.threads, q.formerly = q.formerly[:0], q.threads
	var sum uint64
	at := 0 // where the thread is expected in the former list, which is in the same order
	for _, tid := range p.tids {
		now, err := p.dir.ThreadStat(q.pid, tid)
		if err != nil {
			countFault(faults, err)
			continue
		}
		q.threads = append(q.threads, thread{tid, now.Start, now.CPUTime})
		used := now.CPUTime
		for i := range q.formerly {
			former := &q.formerly[(at+i)%len(q.formerly)]
			if former.tid == tid {
				at += i + 1
				if former.start == now.Start {
					used -= min(used, former.total)
				}
				break
			}
		}
		by[p.domains.OfCPU(now.CPU)] += used
		sum += used
	}
	return Apportion(by, sum, delta)
}

// countFault counts an error, unless it says that somebody ended.
func countFault(faults *int, err error) {
	if !proc.IsGone(err) {
		*faults++
	}
}

// Apportion scales weights, whose sum is given, to parts that sum up to whole.
func Apportion(weights []uint64, sum, whole uint64) bool {
	if sum == 0 {
		return false
	}
	var weight, part uint64 // of all up to here
	for i := range weights {
		weight += weights[i]
		high, low := bits.Mul64(whole, weight)
		upTo, _ := bits.Div64(high, low, sum) // cannot overflow: weight <= sum
		weights[i] = upTo - part
		part = upTo
	}
	return true
}
