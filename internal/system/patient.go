package system

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	patience   = 250 * time.Millisecond // how long one read may take; an ordinary one takes microseconds
	maxHanging = 16                     // reads at a time, each of which holds a thread
)

var errHangs = errors.New("read hangs")

// A patient makes reads that may never return. No signal ends a read in the kernel that waits for a disk or a server that is
// away, so it is left behind; only so many are, and what hangs is not read again until it has returned.
type patient struct {
	patience time.Duration

	mu      sync.Mutex // guards hanging
	hanging map[any]struct{}
}

func newPatient() *patient {
	return &patient{patience: patience, hanging: map[any]struct{}{}}
}

// read returns what fn returns, or errHangs. The key says what is read.
func read[T any](ctx context.Context, p *patient, key any, fn func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	p.mu.Lock()
	_, hangs := p.hanging[key]
	if hangs || len(p.hanging) >= maxHanging {
		p.mu.Unlock()
		return none, errHangs
	}
	p.hanging[key] = struct{}{}
	p.mu.Unlock()
	done := make(chan result, 1)
	go func() {
		var r result
		r.value, r.err = fn()
		p.mu.Lock()
		delete(p.hanging, key)
		p.mu.Unlock()
		done <- r
	}()
	timeout := time.NewTimer(p.patience)
	defer timeout.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timeout.C:
	case <-ctx.Done():
	}
	return none, errHangs
}
