package vmmap

import (
	"context"
	"sync"
	"time"

	"github.com/scaph/scaph/internal/proc"
)

const (
	// noticePatience is how long Notice waits. Looking at a few processes takes a fraction of a
	// millisecond.
	noticePatience = 20 * time.Millisecond
	// maxNoticed bounds what waits to be looked at; the rest is met by the next look, which lists all
	// processes then. Most of a storm of them have ended by that time.
	maxNoticed = 64
	// awaited is how many of them Notice waits for, those that it was told of first.
	awaited = 8
)

// notices are processes that somebody else has noticed, and that are to be looked at before the
// next scan.
type notices struct {
	wake chan struct{} // delivers when there are some

	mu      sync.Mutex // guards what follows
	taken   bool       // there is somebody who takes them
	waiting []proc.ID
	done    chan struct{} // closed when the first of the waiting ones were looked at, nil where there are none

	// Whether somebody tells of all that is new, so that nobody needs to list all processes to find it.
	heard  time.Time // when somebody did last
	missed bool      // something of what he told was left to the next listing
	listed bool      // there was a listing since he began
}

// open says whether there is somebody who takes notices. What waits when there is not is for the
// next scan.
func (n *notices) open(taken bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taken = taken
	if n.done != nil {
		close(n.done)
	}
	n.waiting, n.done = nil, nil
	n.heard, n.missed, n.listed = time.Time{}, false, false
}

// complete reports whether all processes that began are told of, so that no listing is needed. Where
// it is, the caller makes one, and says so by miss where that fails.
func (n *notices) complete() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	telling := time.Since(n.heard) < lookEvery
	complete := telling && n.listed && !n.missed
	n.listed, n.missed = telling, false
	return complete
}

func (n *notices) miss() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.missed = true
}

// add leaves a note and returns what is closed when it was taken care of, nil where nobody will.
func (n *notices) add(ids []proc.ID) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.taken {
		return nil
	}
	n.heard = time.Now()
	if len(ids) == 0 {
		return nil
	}
	if n.done == nil {
		n.done = make(chan struct{})
	}
	room := min(len(ids), maxNoticed-len(n.waiting))
	n.waiting = append(n.waiting, ids[:room]...)
	n.missed = n.missed || room < len(ids)
	select {
	case n.wake <- struct{}{}:
	default: // it is awake
	}
	return n.done
}

// take returns what waits, and what to close when it was looked at.
func (n *notices) take() (ids []proc.ID, done chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids, done = n.waiting, n.done
	n.waiting, n.done = nil, nil
	return ids, done
}

// Notice tells that processes are new, execute another program, or have ended, the most likely VMs
// first: one of them may be a VM that nobody announces. It waits for a moment, so that Current knows
// it; where that is not enough, a later Map does. Who calls it every few seconds, with none where
// there are none, tells of all that there are: then they need not be listed.
func (m *Mapper) Notice(ids []proc.ID) {
	done := m.noticed.add(ids)
	if done == nil {
		return
	}
	patience := time.NewTimer(noticePatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	}
}

// watch takes care of notices until ctx ends, and says on urgent when libvirt should be asked too.
func (m *Mapper) watch(ctx context.Context, urgent chan<- struct{}) {
	m.noticed.open(true)
	defer m.noticed.open(false)
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.noticed.wake:
		}
		if !m.glance(ctx) {
			continue
		}
		select {
		case urgent <- struct{}{}:
		default: // that is said already
		}
	}
}

// glance looks at the processes that were noticed. It reports whether a qemu came or went of which
// libvirt may have more to say than is known. One of an ordinary user's is no reason to ask it
// before the next scan: he may start as many as he likes.
func (m *Mapper) glance(ctx context.Context) (urgent bool) {
	ids, done := m.noticed.take()
	if done == nil {
		return false
	}
	first := ids[:min(len(ids), awaited)]
	urgent = m.glanceAt(ctx, first)
	close(done)
	for rest := ids[len(first):]; len(rest) > 0; {
		some := rest[:min(len(rest), awaited)] // nobody waits longer than for so many
		urgent = m.glanceAt(ctx, some) || urgent
		rest = rest[len(some):]
	}
	return urgent
}

func (m *Mapper) glanceAt(ctx context.Context, ids []proc.ID) (urgent bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed, urgent := m.processes.glance(ctx, ids)
	if changed {
		m.behind = true
		m.publish()
	}
	m.countFaults()
	return urgent
}
