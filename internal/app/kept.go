package app

import (
	"errors"
	"slices"
	"sync"

	"github.com/scaph/scaph/internal/meter"
	"github.com/scaph/scaph/internal/state"
)

// Keep says whether the state is kept over a restart.
type Keep int

// The ways.
const (
	KeepNothing    Keep = iota // a look at the machine that ends soon
	KeepNoChange               // such a look, which goes on from what the service has kept and leaves that as it is
	KeepIfPossible             // a service by flags alone, perhaps without rights to the state's directories
	KeepAlways                 // the service
)

// A kept is what a meter goes on from: the state on disk, and in memory what was last written there. An App hands it
// to its successor, so that a reload loses nothing even while the disk is full.
type kept struct {
	files store    // nil: they are only read
	found [][]byte // at the start
	last  []byte   // given to Save, empty before the first time

	stop, stopped chan struct{} // of carry

	mu    sync.Mutex // guards what follows
	busy  bool       // the disk is being given a state
	to    chan error // whom its answer is for
	queue *order     // what a successor wants to be written then, nil for nothing
}

// A store is a state.Store.
type store interface {
	meter.Store
	meter.Reserver
	Close() error
}

func keep(files store) *kept {
	k := &kept{files: files, stop: make(chan struct{}), stopped: make(chan struct{})}
	go k.carry()
	return k
}

// Save is the store's.
func (k *kept) Save(b []byte) error {
	k.last, k.found = append(k.last[:0], b...), nil
	return k.files.Save(b)
}

// states are those to go on from.
func (k *kept) states() [][]byte {
	if len(k.last) > 0 {
		return [][]byte{k.last}
	}
	return k.found
}

// An ahead is the Reserver of one meter. The store writes one state at a time, and a meter may have to wait for the answer to
// one of its predecessor's, which is not for it.
type ahead struct {
	kept   *kept
	answer chan error
}

// An order is a state to be written, and whom the answer is for.
type order struct {
	state []byte
	to    chan error
}

func (k *kept) newAhead() meter.Reserver { return &ahead{kept: k, answer: make(chan error, 1)} }

// Reserve starts to write, or will when the disk has answered a predecessor.
func (a *ahead) Reserve(b []byte) {
	k := a.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy {
		k.queue = &order{slices.Clone(b), a.answer}
		return
	}
	k.busy, k.to = true, a.answer
	k.files.Reserve(b)
}

// Reserved carries the answers.
func (a *ahead) Reserved() <-chan error { return a.answer }

// carry passes the disk's answers on, each to who asked.
func (k *kept) carry() {
	defer close(k.stopped)
	for {
		select {
		case err := <-k.files.Reserved():
			k.answered(err)
		case <-k.stop:
			return
		}
	}
}

func (k *kept) answered(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case k.to <- err:
	default: // a meter that has ended has not taken the last one
	}
	if next := k.queue; next != nil {
		k.to, k.queue = next.to, nil
		k.files.Reserve(next.state)
		return
	}
	k.busy = false
}

func (k *kept) close() error {
	if k.files == nil {
		return nil
	}
	close(k.stop)
	<-k.stopped
	return k.files.Close()
}

// openState opens what the meter goes on from. With a Former that is the former's, when that has ended.
func (a *App) openState(o Options) error {
	if o.Keep == KeepNothing {
		return nil
	}
	dirs := a.Config.State
	if o.Former != nil {
		if dirs != o.Former.Config.State {
			return errors.New("state.run and state.lib cannot be changed by a reload: restart the service")
		}
		return nil
	}
	k := new(kept)
	if o.Keep != KeepNoChange {
		files, err := OpenState(a.Config)
		var locked *state.LockedError
		switch {
		case err == nil:
			k = keep(files)
		case o.Keep == KeepIfPossible && !errors.As(err, &locked):
			a.Log.Warn("nothing is kept over a restart: counters will start at 0 again", "error", err)
			return nil
		default:
			return err
		}
	}
	a.kept = k
	var err error
	if k.found, err = state.Load(dirs.Run, dirs.Lib); err != nil && o.Keep != KeepNoChange {
		a.Log.Error("the state of the last run cannot be read", "error", err)
	}
	return nil
}
