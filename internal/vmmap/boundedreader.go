package vmmap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/scaph/scaph/internal/proc"
)

const (
	readPatience = 250 * time.Millisecond // how long one read may take; an ordinary one takes microseconds

	// How many reads may hang at once, each holding a thread: for processes of one account that is
	// not the system's, of all such accounts, and of the system's accounts. Who makes his own hang
	// takes nothing from the others.
	maxStuckAccount  = 2
	maxStuckOrdinary = 32
	maxStuckSystem   = 8
)

// errStuck is what a read that does not return ends in.
var errStuck = errors.New("read hangs")

// A boundedReader makes reads that may never return: /proc/PID/cmdline takes the memory lock of the
// process, which is held for as long as a page fault in it is stuck, say on a dead network disk. No
// signal ends such a read, so it is left behind; only so many are, and what is being read is not
// asked for again while that read hangs. For use by one goroutine.
type boundedReader struct {
	patience time.Duration
	hanging  map[pendingRead]hung
}

// A pendingRead says what is read of which process.
type pendingRead struct {
	proc.ID
	file string
}

type hung struct {
	account
	done chan result
}

type result struct {
	data []byte
	err  error
}

func newBoundedReader() *boundedReader {
	return &boundedReader{patience: readPatience, hanging: map[pendingRead]hung{}}
}

// read returns what read returns, or errStuck.
func (r *boundedReader) read(ctx context.Context, what pendingRead, by account, read func() ([]byte, error)) ([]byte, error) {
	for key, h := range r.hanging {
		select {
		case <-h.done:
			delete(r.hanging, key)
		default:
		}
	}
	if _, hangs := r.hanging[what]; hangs {
		return nil, fmt.Errorf("%s of process %d: %w", what.file, what.PID, errStuck)
	}
	if n := r.held(by); n > 0 {
		return nil, fmt.Errorf("%s of process %d was not tried: %d others hang: %w", what.file, what.PID, n, errStuck)
	}
	done := make(chan result, 1) // so that the reader can always end
	go func() {
		data, err := read()
		done <- result{data, err}
	}()
	patience := time.NewTimer(r.patience)
	defer patience.Stop()
	select {
	case got := <-done:
		return got.data, got.err
	case <-patience.C:
	case <-ctx.Done():
	}
	r.hanging[what] = hung{by, done}
	return nil, fmt.Errorf("%s of process %d: %w", what.file, what.PID, errStuck)
}

// held returns how many reads hang that keep an account from another one, 0 where it may try.
func (r *boundedReader) held(by account) int {
	var same, alike int
	for _, h := range r.hanging {
		if h.system == by.system {
			alike++
			if h.uid == by.uid {
				same++
			}
		}
	}
	switch {
	case by.system && alike >= maxStuckSystem, !by.system && alike >= maxStuckOrdinary:
		return alike
	case !by.system && same >= maxStuckAccount:
		return same
	}
	return 0
}

// readLimited reads at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing to lose
	return io.ReadAll(io.LimitReader(f, limit))
}
