package app

import (
	"errors"
	"testing"

	"github.com/scaph/scaph/internal/meter"
)

// A fakeStore is a disk that answers when the test says so. Its buffer is in use until then, as the real one's is.
type fakeStore struct {
	t      *testing.T
	buffer []byte
	busy   bool
	asked  chan []byte
	answer chan error
	saves  error
}

func newFakeStore(t *testing.T) *fakeStore {
	return &fakeStore{t: t, asked: make(chan []byte, 1), answer: make(chan error)}
}

func (f *fakeStore) Save([]byte) error { return f.saves }

func (f *fakeStore) Reserve(b []byte) {
	if f.busy {
		f.t.Error("a state is given to the disk, which has not answered for the last one")
	}
	f.busy, f.buffer = true, append(f.buffer[:0], b...)
	f.asked <- f.buffer
}

func (f *fakeStore) Reserved() <-chan error { return f.answer }
func (f *fakeStore) Close() error           { return nil }

// done has the disk answer for a state.
func (f *fakeStore) done(t *testing.T, want string, err error) {
	t.Helper()
	if got := string(<-f.asked); got != want {
		t.Errorf("the disk is given %q, want %q", got, want)
	}
	f.busy = false
	f.answer <- err
}

// A meter's answer never comes to its successor, and the disk never has two states to write.
func TestAnswersOfTheDiskSurviveAReload(t *testing.T) {
	disk := newFakeStore(t)
	k := keep(disk)
	first, second := k.newAhead(), k.newAhead()
	answers := func(m meter.Reserver) bool { return len(m.Reserved()) > 0 }

	first.Reserve([]byte("first"))
	second.Reserve([]byte("second")) // a reload while the disk hangs
	second.Reserve([]byte("newer"))  // and another
	if answers(first) || answers(second) {
		t.Fatal("an answer without the disk's")
	}
	failure := errors.New("full")
	disk.done(t, "first", failure)
	disk.done(t, "newer", nil)
	if err := <-second.Reserved(); err != nil {
		t.Errorf("the second meter has the answer of the first: %v", err)
	}
	if err := <-first.Reserved(); !errors.Is(err, failure) {
		t.Errorf("the first meter's answer: %v", err)
	}
	second.Reserve([]byte("third"))
	disk.done(t, "third", failure)
	if err := <-second.Reserved(); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	if err := k.close(); err != nil {
		t.Error(err)
	}
}

// What a successor goes on from is what was last measured, written or not; before that, what was found.
func TestSuccessorGoesOnFromMemory(t *testing.T) {
	disk := newFakeStore(t)
	k := keep(disk)
	k.found = [][]byte{[]byte("older"), []byte("oldest")}
	if got := k.states(); len(got) != 2 {
		t.Errorf("at the start: %q", got)
	}
	disk.saves = errors.New("full")
	buffer := []byte("now")
	if err := k.Save(buffer); !errors.Is(err, disk.saves) {
		t.Errorf("a full disk: %v", err)
	}
	copy(buffer, "xxx") // the meter's, which it uses again
	if got := k.states(); len(got) != 1 || string(got[0]) != "now" {
		t.Errorf("after a tick: %q", got)
	}
	if err := k.close(); err != nil {
		t.Error(err)
	}
}
