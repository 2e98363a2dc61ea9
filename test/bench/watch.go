package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A watch tells when a product has made a tick: each one puts a new state in the place of the old one, shortly
// before its end.
type watch struct {
	events *os.File
	buf    [4096]byte
}

func newWatch(dir string) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	w := &watch{events: os.NewFile(uintptr(fd), "inotify")}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MOVED_TO); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", dir, err), w.events.Close())
	}
	return w, nil
}

// tickTimeout is far more than a tick takes, on a machine that is used for other things too.
const tickTimeout = 30 * time.Second

// next waits for a tick, and tells how many there were: more than one if we came late.
func (w *watch) next() (ticks int, err error) {
	if err := w.events.SetReadDeadline(time.Now().Add(tickTimeout)); err != nil {
		return 0, err
	}
	for ticks == 0 {
		n, err := w.events.Read(w.buf[:])
		if err != nil {
			return 0, fmt.Errorf("wait for a tick: %w", err)
		}
		ticks = bytes.Count(w.buf[:n], []byte("state\x00"))
	}
	return ticks, nil
}

func (w *watch) close() error { return w.events.Close() }

// costs gives what each of the next n ticks costs the product in all, in µs of CPU time: its whole process, from one
// tick to the next.
func (p *product) costs(n int) (_ []float64, err error) {
	w, err := newWatch(p.state)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if _, err := w.next(); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	last, err := p.cpuTime()
	if err != nil {
		return nil, err
	}
	var costs []float64
	for len(costs) < n {
		ticks, err := w.next()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		now, err := p.cpuTime()
		if err != nil {
			return nil, err
		}
		for range ticks {
			costs = append(costs, micros(now-last)/float64(ticks))
		}
		last = now
	}
	return costs, nil
}
