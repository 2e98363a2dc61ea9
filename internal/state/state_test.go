package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestStore(t *testing.T) {
	run, lib := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "lib")
	s, err := Open(run, lib)
	if err != nil {
		t.Fatal(err)
	}
	if states, err := Load(run, lib); err != nil || len(states) != 0 {
		t.Errorf("a new store holds %q, %v", states, err)
	}
	if err := s.Save([]byte("tick")); err != nil {
		t.Fatal(err)
	}
	s.Reserve([]byte("ahead"))
	if err := <-s.Reserved(); err != nil {
		t.Fatal(err)
	}
	if states, err := Load(run, lib); err != nil || len(states) != 2 || string(states[0]) != "tick" || string(states[1]) != "ahead" {
		t.Errorf("kept %q, %v", states, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if states, err := Load(run, lib); err != nil || string(states[1]) != "tick" {
		t.Errorf("after the end, the disk has %q, %v; want the last tick's state", states, err)
	}
}

// Neither directory is used by two instances.
func TestLock(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()}
	s, err := Open(dirs[0], dirs[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range []struct{ run, lib, key string }{
		{dirs[0], dirs[2], "state.run"}, {dirs[2], dirs[1], "state.lib"},
	} {
		_, err := Open(pair.run, pair.lib)
		var locked *LockedError
		if !errors.As(err, &locked) || locked.Key != pair.key || locked.PID != os.Getpid() || !strings.Contains(err.Error(), pair.key) {
			t.Errorf("opened %v: %v, want that %s is locked", pair, err, pair.key)
		}
	}
	// What a refused one had locked already is free.
	free, err := Open(dirs[2], dirs[3])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(free.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dirs[0], dirs[1]); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dirs[0], dirs[0]); err == nil || !strings.Contains(err.Error(), "one directory") {
		t.Errorf("one directory for both: %v", err)
	}
}

// A frozenDisk does not answer until it is thawed (fsfreeze(8), a controller that resets, a dead NFS server).
type frozenDisk struct {
	system
	asked, thawed chan struct{}
}

func (d frozenDisk) create(path string) (diskFile, error) {
	d.asked <- struct{}{}
	<-d.thawed
	return d.system.create(path)
}

// A disk that stands still delays neither a tick's state nor, for longer than a while, the end.
func TestFrozenDisk(t *testing.T) {
	run, lib := t.TempDir(), t.TempDir()
	d := frozenDisk{asked: make(chan struct{}, 9), thawed: make(chan struct{})}
	s := newStore(run, lib, d)
	s.closing = 10 * time.Millisecond
	ended := make(chan struct{})
	go func() { s.write(); close(ended) }()
	s.Reserve([]byte("ahead"))
	<-d.asked
	for range 100 {
		if err := s.Save([]byte("tick")); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-s.Reserved():
		t.Errorf("the disk answered %v", err)
	default:
	}
	if err := s.Close(); !errors.Is(err, ErrDisk) {
		t.Errorf("closed: %v, want that the disk does not answer", err)
	}
	close(d.thawed)
	<-ended
	if states, err := Load(run, lib); err != nil || len(states) != 2 || string(states[1]) != "tick" {
		t.Errorf("when it answered again, it was given %q, %v", states, err)
	}
}

// What cannot be written is reported, and can be written later.
func TestFullDisk(t *testing.T) {
	run, lib := t.TempDir(), filepath.Join(t.TempDir(), "lib")
	s, err := Open(run, lib)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(lib, fileName+".new"), 0o700); err != nil { // stands in the way
		t.Fatal(err)
	}
	s.Reserve([]byte("ahead"))
	if err := <-s.Reserved(); err == nil {
		t.Error("a directory was written to")
	}
	if err := os.Remove(filepath.Join(lib, fileName+".new")); err != nil {
		t.Fatal(err)
	}
	s.Reserve([]byte("ahead"))
	if err := errors.Join(<-s.Reserved(), s.Close()); err != nil {
		t.Error(err)
	}
}
