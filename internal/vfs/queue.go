package vfs

import (
	"encoding/binary"
	"slices"
)

// A queue holds requests that were taken from the kernel and puts them in a fair order: one of each VM in turn.
// The kernel hands them out first come, first served, so that a guest with many of them under way makes all
// others wait behind.
type queue struct {
	waiting []request // by arrival
	spare   [][]byte
	turn    uint64
	served  map[slot]uint64 // the turn in which a VM had a request answered last, of the VMs since the queue was empty
}

// A request is one as the kernel wrote it.
type request struct {
	vm   slot
	data []byte
}

// queueMax bounds the requests taken and not answered: those are the ones that a killed process leaves behind, for
// the kernel to send again.
const queueMax = 128

func newQueue() *queue { return &queue{served: make(map[slot]uint64)} }

func (q *queue) full() bool { return len(q.waiting) >= queueMax }

// add copies a request into the queue.
func (q *queue) add(data []byte) {
	var buf []byte
	if n := len(q.spare); n > 0 {
		buf, q.spare = q.spare[n-1], q.spare[:n-1]
	}
	vm, _ := split(binary.NativeEndian.Uint64(data[nodeOffset:])) // the root and the kernel itself count as one VM
	q.waiting = append(q.waiting, request{vm: vm, data: append(buf[:0], data...)})
}

// next gives the request of the VM that was served longest ago, the oldest of it; ok is false if none waits.
// The request is given back by done.
func (q *queue) next() (r request, ok bool) {
	if len(q.waiting) == 0 {
		return request{}, false
	}
	first := 0
	if len(q.waiting) > 1 {
		for i := range q.waiting {
			if q.served[q.waiting[i].vm] < q.served[q.waiting[first].vm] {
				first = i
			}
		}
		q.turn++
		q.served[q.waiting[first].vm] = q.turn
	}
	r = q.waiting[first]
	q.waiting = slices.Delete(q.waiting, first, first+1)
	return r, true
}

// done gives a request's memory back.
func (q *queue) done(r request) {
	q.spare = append(q.spare, r.data)
	if len(q.waiting) == 0 {
		clear(q.served)
	}
}
