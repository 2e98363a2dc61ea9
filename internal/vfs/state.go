package vfs

import (
	"sync/atomic"
	"time"
)

// A state is all that the tree shows at one moment. It is immutable as long as it is the Tree's or somebody
// reads it.
type state struct {
	readers atomic.Int64

	shape  *shape
	names  *index
	source string
	since  time.Time // when VMs last came, went or changed names: mtime of the root
	vms    []meter
}

// A meter is a VM's values and, for reads that look for the end of file, those before.
type meter struct {
	now, before Values
	first       bool // what was shown before is known to an earlier process only
}

// read returns the present state. It does not change until its release.
func (t *Tree) read() *state {
	for {
		st := t.state.Load()
		st.readers.Add(1)
		if t.state.Load() == st {
			return st
		}
		st.readers.Add(-1) // it has been replaced, and may be in the making again
	}
}

func (st *state) release() { st.readers.Add(-1) }

// fresh returns a state to be made for n VMs: the memory of the one before the present one, if it has room and
// nobody reads it, so that publishing leaves no garbage. A reader that finds it only now finds, too, that
// it is not the present one.
func (t *Tree) fresh(n int) *state {
	st := t.former
	t.former = nil
	if st == nil || st.readers.Load() != 0 || cap(st.vms) < n {
		st = &state{vms: make([]meter, n)}
	}
	st.vms = st.vms[:n]
	return st
}

// show makes a state the present one.
func (t *Tree) show(next *state) {
	t.former = t.state.Swap(next)
}

// find resolves a node id other than the root's: the VM's place and its file. Place is -1 where the VM is gone,
// or does not show this file (any more).
func (st *state) find(node uint64) (place int, f file) {
	s, f := split(node)
	i, ok := st.names.bySlot[s]
	if !ok || st.shape.inodes[f].mode == 0 || (st.names.off[i] && f != vmDir) {
		return -1, f
	}
	return i, f
}
