package cli

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
)

// An output is standard output. When it cannot be written the program ends, whatever command writes and whether or not
// that one looks at errors: a table that nobody can read is not to be taken for one that is empty.
type output struct {
	file *os.File
	stop context.CancelFunc

	mu  sync.Mutex // guards err
	err error      // the first
}

// Write is File.Write.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	o.note(err)
	return n, err
}

// Fd lets a command ask whether a terminal is behind it.
func (o *output) Fd() uintptr { return o.file.Fd() }

func (o *output) note(err error) {
	if err == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.stop()
}

// close ends the output, and returns why it could not be written: some file systems tell only now.
func (o *output) close() error {
	o.note(o.file.Close())
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// closedPipe reports whether the reader has left, as head(1) does, which is no failure to speak of.
func closedPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
