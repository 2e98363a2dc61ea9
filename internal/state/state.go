// Package state keeps the meter's state in files: one that is written at every tick and lives as long as
// the machine runs (on a tmpfs), and one that lives through reboots and power cuts, and is written beside
// the tick: a disk that does not answer delays nobody.
package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	fileName = "state"
	lockName = "lock"
	// closing bounds how long Close waits for the disk.
	closing = 5 * time.Second
)

// ErrDisk says that the directory of the state that survives a reboot did not answer in time.
var ErrDisk = errors.New("the disk does not answer")

// A Store is a pair of directories, locked against a second instance.
type Store struct {
	run   file
	lib   string
	disk  disk
	locks []*os.File
	last  []byte // what Save was last given

	reserve  chan []byte // to the writer; closed by Close
	reserved chan error  // from the writer; has room for the results of Reserve and Close
	buffer   []byte      // the writer's while it writes
	closing  time.Duration
	closed   bool
}

// A LockedError says that another instance uses the directory.
type LockedError struct {
	Path string
	Key  string // of the configuration, that would choose another directory
	PID  int    // of the other instance, 0 where unknown
}

func (e *LockedError) Error() string {
	who := "another instance"
	if e.PID > 0 {
		who = fmt.Sprintf("another instance (pid %d)", e.PID)
	}
	return fmt.Sprintf("%s is running: it holds %s; stop it, or give this one a %s of its own", who, e.Path, e.Key)
}

// Open makes the directories where they are missing (0700) and takes their locks. The error is a *LockedError
// where another instance has one.
func Open(run, lib string) (*Store, error) {
	s := newStore(run, lib, system{})
	for _, dir := range []struct{ path, key string }{{run, "state.run"}, {lib, "state.lib"}} {
		if err := os.MkdirAll(dir.path, 0o700); err != nil {
			return nil, errors.Join(fmt.Errorf("make the directory of %s: %w", dir.key, err), s.unlock())
		}
		if len(s.locks) > 0 && same(run, lib) {
			return nil, errors.Join(fmt.Errorf("state.run and state.lib are one directory, %s: give each its own", lib), s.unlock())
		}
		lock, err := takeLock(dir.path, dir.key)
		if err != nil {
			return nil, errors.Join(err, s.unlock())
		}
		s.locks = append(s.locks, lock)
	}
	go s.write()
	return s, nil
}

func newStore(run, lib string, d disk) *Store {
	return &Store{
		run: file{path: filepath.Join(run, fileName)}, lib: filepath.Join(lib, fileName), disk: d,
		reserve: make(chan []byte, 1), reserved: make(chan error, 2), closing: closing,
	}
}

func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

func takeLock(dir, key string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of %s: %w", key, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{Path: path, Key: key, PID: readPID(lock)}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := writePID(lock); err != nil {
		return nil, errors.Join(fmt.Errorf("write our pid to %s: %w", path, err), lock.Close())
	}
	return lock, nil
}

func readPID(f *os.File) int {
	var buf [16]byte
	n, _ := f.ReadAt(buf[:], 0) // the pid is a courtesy: without it the message is shorter
	pid, _ := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	return pid
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// Load returns what was saved, the state of each tick first; which one is newer, the states say. There may be
// nothing; what is there may be damaged. The error names a file that is there and cannot be read; the other one is
// still returned. It takes no lock.
func Load(run, lib string) (states [][]byte, err error) {
	for _, dir := range []string{run, lib} {
		b, e := read(filepath.Join(dir, fileName))
		if e == nil {
			states = append(states, b)
		} else if !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return states, err
}

// Save writes the state of a tick, to run. A reader, or the next run, finds either the whole old state or the
// whole new one, unless the machine fails.
func (s *Store) Save(b []byte) error {
	s.last = append(s.last[:0], b...)
	return s.run.replace(b)
}

// Reserve starts to write a state to lib, beside the caller. It is not called again before there is a result.
func (s *Store) Reserve(b []byte) {
	s.buffer = append(s.buffer[:0], b...)
	s.reserve <- s.buffer
}

// Reserved carries the result of each Reserve: nil when the state is where a power cut cannot reach it.
func (s *Store) Reserved() <-chan error { return s.reserved }

// write is the writer's loop. It ends with Close, or never where the disk does not answer.
func (s *Store) write() {
	for b := range s.reserve {
		s.reserved <- replaceDurably(s.disk, s.lib, b)
	}
	close(s.reserved)
}

// Close writes the last state to lib and gives up the locks. It waits for the disk for a few seconds only.
func (s *Store) Close() error {
	err := s.run.close()
	if s.closed {
		return err
	}
	s.closed = true
	timeout := time.NewTimer(s.closing)
	defer timeout.Stop()
	if s.last != nil {
		select { // the buffer belongs to the writer, which may still have it
		case s.reserve <- s.last:
		case <-timeout.C:
			return errors.Join(err, fmt.Errorf("write %s: %w", s.lib, ErrDisk), s.unlock())
		}
	}
	close(s.reserve)
	for {
		select {
		case e, more := <-s.reserved:
			if !more {
				return errors.Join(err, s.unlock())
			}
			err = errors.Join(err, e)
		case <-timeout.C:
			return errors.Join(err, fmt.Errorf("write %s: %w", s.lib, ErrDisk), s.unlock())
		}
	}
}

func (s *Store) unlock() error {
	var err error
	for _, lock := range s.locks {
		err = errors.Join(err, lock.Close())
	}
	s.locks = nil
	return err
}
