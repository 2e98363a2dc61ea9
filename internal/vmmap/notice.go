package vmmap

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/scaph/scaph/internal/proc"
)

const (
	// noticePatience is how long Notice waits. Looking at a few processes takes a fraction of a
	// millisecond.
	noticePatience = 20 * time.Millisecond
	// maxNoticed bounds what waits to be looked at; the rest is met by the next scan.
	maxNoticed = 512
)

// notices are processes that somebody else has noticed, and that are to be looked at before the
// next scan.
type notices struct {
	wake chan struct{} // delivers when there are some

	mu      sync.Mutex // guards what follows
	awaited bool       // there is somebody who takes them
	waiting []proc.ID
	done    chan struct{} // closed when the waiting ones were looked at, nil where there are none
}

// open says whether there is somebody who takes notices. What waits when there is not is for the
// next scan.
func (n *notices) open(awaited bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.awaited = awaited
	if n.done != nil {
		close(n.done)
	}
	n.waiting, n.done = nil, nil
}

// add leaves a note and returns what is closed when it was taken care of, nil where nobody will.
func (n *notices) add(ids []proc.ID) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.awaited {
		return nil
	}
	if n.done == nil {
		n.done = make(chan struct{})
	}
	n.waiting = append(n.waiting, ids[:min(len(ids), maxNoticed-len(n.waiting))]...)
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

// Notice tells that processes are new, or execute another program: one of them may be a VM that
// nobody announces. It waits for a moment, so that Current knows it; where that is not enough, a
// later Map does.
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

// glance looks at the processes that were noticed. It reports whether there is a new qemu of which
// libvirt may have more to say than is known. One of an ordinary user's is no reason to ask it
// before the next scan: he may start as many as he likes.
func (m *Mapper) glance(ctx context.Context) (urgent bool) {
	ids, done := m.noticed.take()
	if done == nil {
		return false
	}
	defer close(done)
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortFunc(ids, func(a, b proc.ID) int { return int(a.PID) - int(b.PID) })
	changed, urgent := m.processes.glance(ctx, slices.Compact(ids))
	if changed {
		m.behind = true
		m.publish()
	}
	m.countFaults()
	return urgent
}
