// Package state keeps the meter's state in files: one that is written at every tick and lives as long as
// the machine runs (usually on a tmpfs), and one that is written now and then and lives through reboots.
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
	libEvery = time.Minute
)

// A Store is a pair of directories, locked against a second instance.
type Store struct {
	run   file
	lib   string
	lock  *os.File
	last  []byte // what Save was last given
	libAt time.Time
	now   func() time.Time
}

// A LockedError says that another instance uses the directory.
type LockedError struct {
	Path string
	PID  int // of the other instance, 0 where unknown
}

func (e *LockedError) Error() string {
	who := "another instance"
	if e.PID > 0 {
		who = fmt.Sprintf("another instance (pid %d)", e.PID)
	}
	return fmt.Sprintf("%s is running: it holds %s; stop it, or give this one a state.run of its own", who, e.Path)
}

// Open makes the directories where they are missing (0700) and takes the lock. The error is a *LockedError
// where another instance has it.
func Open(run, lib string, now func() time.Time) (*Store, error) {
	for _, dir := range []string{run, lib} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the state directory: %w", err)
		}
	}
	path := filepath.Join(run, lockName)
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{Path: path, PID: readPID(lock)}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := writePID(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("write our pid to %s: %w", path, err)
	}
	return &Store{run: file{path: filepath.Join(run, fileName)}, lib: lib, lock: lock, libAt: now(), now: now}, nil
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

// Load gives what was saved, the newest first. There may be nothing; what is there may be damaged.
// The error names a file that is there and cannot be read; the other one is still given. It takes no lock.
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

// Save writes the state: to run always, to lib once a minute. A reader, or the next run, finds either the
// whole old state or the whole new one.
func (s *Store) Save(b []byte) error {
	s.last = append(s.last[:0], b...)
	err := s.run.replace(b)
	if now := s.now(); now.Sub(s.libAt) >= libEvery || now.Before(s.libAt) {
		s.libAt = now
		err = errors.Join(err, write(s.lib, b))
	}
	return err
}

// Close writes the last state to lib and gives up the lock.
func (s *Store) Close() error {
	var err error
	if s.last != nil {
		err = write(s.lib, s.last)
	}
	return errors.Join(err, s.run.close(), s.lock.Close())
}

// write replaces the file in dir in one step, in a way that survives a power cut.
func write(dir string, b []byte) error {
	path := filepath.Join(dir, fileName)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
