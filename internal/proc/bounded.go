package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// readPatience is how long one read may take; an ordinary one takes microseconds.
const readPatience = 250 * time.Millisecond

// How many reads of a BoundedReader may hang at once, each holding a thread: for processes of one
// account that is not the system's, of all such accounts, and of the system's accounts. Who makes
// his own hang takes nothing from the others.
const (
	MaxStuckAccount  = 2
	MaxStuckOrdinary = 32
	MaxStuckSystem   = 8
)

// ErrStuck is what a read that does not return ends in.
var ErrStuck = errors.New("read hangs")

// An Account is who answers for a process.
type Account struct {
	UID    uint32 // in our user namespace; NoUID where unknown
	System bool   // ordinary users cannot start processes as it
}

// A BoundedReader makes reads that may never return: /proc/PID/cmdline takes the memory lock of the
// process, which is held for as long as a page fault in it is stuck, say on a dead network disk. No
// signal ends such a read, so it is left behind; only so many are, and what is being read is not
// asked for again while that read hangs. For use by one goroutine.
type BoundedReader struct {
	Patience time.Duration // how long one read may take

	hanging map[pendingRead]hung
}

// A pendingRead says what is read of which process.
type pendingRead struct {
	ID
	file string
}

type hung struct {
	Account
	done chan result
}

type result struct {
	data []byte
	err  error
}

// NewBoundedReader returns one of ordinary patience.
func NewBoundedReader() *BoundedReader {
	return &BoundedReader{Patience: readPatience, hanging: map[pendingRead]hung{}}
}

// Read returns what read returns of a file of a process, or ErrStuck. The read may outlive the call.
func (r *BoundedReader) Read(ctx context.Context, id ID, file string, by Account, read func() ([]byte, error)) ([]byte, error) {
	what := pendingRead{id, file}
	for key, h := range r.hanging {
		select {
		case <-h.done:
			delete(r.hanging, key)
		default:
		}
	}
	if _, hangs := r.hanging[what]; hangs {
		return nil, fmt.Errorf("%s of process %d: %w", what.file, what.PID, ErrStuck)
	}
	if n := r.held(by); n > 0 {
		return nil, fmt.Errorf("%s of process %d was not tried: %d others hang: %w", what.file, what.PID, n, ErrStuck)
	}
	done := make(chan result, 1) // so that the reader can always end
	go func() {
		data, err := read()
		done <- result{data, err}
	}()
	patience := time.NewTimer(r.Patience)
	defer patience.Stop()
	select {
	case got := <-done:
		return got.data, got.err
	case <-patience.C:
	case <-ctx.Done():
	}
	r.hanging[what] = hung{by, done}
	return nil, fmt.Errorf("%s of process %d: %w", what.file, what.PID, ErrStuck)
}

// held returns how many reads hang that keep an account from another one, 0 where it may try.
func (r *BoundedReader) held(by Account) int {
	var same, alike int
	for _, h := range r.hanging {
		if h.System == by.System {
			alike++
			if h.UID == by.UID {
				same++
			}
		}
	}
	switch {
	case by.System && alike >= MaxStuckSystem, !by.System && alike >= MaxStuckOrdinary:
		return alike
	case !by.System && same >= MaxStuckAccount:
		return same
	}
	return 0
}

// Hanging returns how many reads hang, as far as was seen.
func (r *BoundedReader) Hanging() int { return len(r.hanging) }

// ReadLimited reads at most limit bytes of a file.
func ReadLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing to lose
	return io.ReadAll(io.LimitReader(f, limit))
}
