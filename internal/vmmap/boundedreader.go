package vmmap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	readPatience = 250 * time.Millisecond // how long one read may take; an ordinary one takes microseconds
	maxStuck     = 8                      // reads that may hang at once, each holding a thread
)

// errStuck is what a read that does not return ends in.
var errStuck = errors.New("read hangs")

// A boundedReader reads files that may never answer: /proc/PID/cmdline takes the memory lock of
// the process, which is held for as long as a page fault in it is stuck, say on a dead network disk. No
// signal ends such a read, so it is left behind; at most maxStuck are, and a file is not asked
// for again while a read of it hangs. For use by one goroutine.
type boundedReader struct {
	limit    int64
	patience time.Duration
	hanging  map[string]chan result // by path
}

type result struct {
	data []byte
	err  error
}

func newBoundedReader(limit int64) *boundedReader {
	return &boundedReader{limit: limit, patience: readPatience, hanging: map[string]chan result{}}
}

// read gives at most limit bytes of a file.
func (r *boundedReader) read(ctx context.Context, path string) ([]byte, error) {
	for path, done := range r.hanging {
		select {
		case <-done:
			delete(r.hanging, path)
		default:
		}
	}
	if _, hangs := r.hanging[path]; hangs {
		return nil, fmt.Errorf("%s: %w", path, errStuck)
	}
	if len(r.hanging) >= maxStuck {
		return nil, fmt.Errorf("%s was not tried: %d others hang: %w", path, len(r.hanging), errStuck)
	}
	done := make(chan result, 1) // so that the reader can always end
	go func() {
		data, err := readLimited(path, r.limit)
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
	r.hanging[path] = done
	return nil, fmt.Errorf("%s: %w", path, errStuck)
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
