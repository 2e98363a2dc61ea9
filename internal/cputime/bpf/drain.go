package bpf

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf/ringbuf"
)

// A drain empties the ring buffer beside the looks, so that what it holds is no bound on what may end between two. It
// sleeps until the programs wake it, which they do when a quarter of the buffer is full, or until a look wants what is
// there.
type drain struct {
	ring    *ringbuf.Reader
	flushed chan struct{} // one for each flush: all that was in the buffer is taken out
	done    chan struct{} // closed at the end

	mu   sync.Mutex
	ends []byte // guarded by mu: records that no look has taken yet
	lost uint64 // guarded by mu: records that found no room there, since the last take
	err  error  // guarded by mu: why it ended
}

// mostEnds bounds the memory for ends that no look has taken: those of 170,000 tasks, which is a minute, the longest
// interval, of 2,900 ends in a second.
const mostEnds = 32 << 20

// newDrain starts a drain, which ends when the ring is closed; wait waits for that.
func newDrain(ring *ringbuf.Reader) *drain {
	d := &drain{ring: ring, flushed: make(chan struct{}, 1), done: make(chan struct{})}
	go d.run()
	return d
}

func (d *drain) run() {
	defer close(d.done)
	var event ringbuf.Record
	for {
		switch err := d.ring.ReadInto(&event); {
		case err == nil:
			d.keep(event.RawSample)
		case errors.Is(err, ringbuf.ErrFlushed):
			d.flushed <- struct{}{}
		default:
			d.mu.Lock()
			d.err = err
			d.mu.Unlock()
			return
		}
	}
}

func (d *drain) keep(sample []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case len(sample) < recordSize:
	case len(d.ends) >= mostEnds:
		d.lost++
	default:
		d.ends = append(d.ends, sample[:recordSize]...)
	}
}

// take appends to records all that ended until now, and tells how many found no room. Records that are there already
// are of looks that failed, and count for the bound.
func (d *drain) take(records []byte) (_ []byte, lost uint64, err error) {
	if err := d.ring.Flush(); err != nil {
		return records, 0, fmt.Errorf("flush the ring buffer: %w", err)
	}
	select {
	case <-d.flushed:
	case <-d.done:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return records, 0, d.err
	}
	lost, d.lost = d.lost, 0
	if room := max(0, mostEnds-len(records)); len(d.ends) > room {
		lost += uint64((len(d.ends) - room) / recordSize)
		d.ends = d.ends[:room-room%recordSize]
	}
	records = append(records, d.ends...)
	if d.ends = d.ends[:0]; cap(d.ends) > ringSize {
		d.ends = nil // it was a storm
	}
	return records, lost, nil
}

func (d *drain) wait() { <-d.done }
