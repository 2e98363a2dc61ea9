package proc

import (
	"cmp"
	"iter"
	"slices"
)

// A Table keeps what is known of each process, a P, by ascending process id. What becomes of it when
// an id is used again by another process is up to its owner. For use by one goroutine; the zero
// value is empty.
type Table[P any] struct {
	rows []row[P]
	next []row[P] // the table that Update is making, in the memory of the last but one; else empty
}

type row[P any] struct {
	pid int32
	of  *P
}

// Update goes once through all processes that are listed, which is ascending, and all that are
// known, by ascending id. It keeps what look returns, and forgets a process where that is nil; known
// is nil for one that is new. It allocates nothing while their number does not grow.
func (t *Table[P]) Update(listed []int32, look func(pid int32, known *P, listed bool) *P) {
	known := t.rows
	for len(known) > 0 || len(listed) > 0 {
		var pid int32
		var before *P
		isListed := len(listed) > 0 && (len(known) == 0 || listed[0] <= known[0].pid)
		if isListed {
			pid, listed = listed[0], listed[1:]
		} else {
			pid = known[0].pid
		}
		if len(known) > 0 && known[0].pid == pid {
			before, known = known[0].of, known[1:]
		}
		if after := look(pid, before, isListed); after != nil {
			t.next = append(t.next, row[P]{pid, after})
		}
	}
	clear(t.rows) // lets go of what has ended
	t.rows, t.next = t.next, t.rows[:0]
}

// Find returns what is known of a process, nil for nothing. During an Update it is what that has
// kept, else what was known before.
func (t *Table[P]) Find(pid int32) *P {
	for _, rows := range [...][]row[P]{t.next, t.rows} {
		if i, there := search(rows, pid); there {
			return rows[i].of
		}
	}
	return nil
}

func search[P any](rows []row[P], pid int32) (int, bool) {
	return slices.BinarySearchFunc(rows, pid, func(r row[P], pid int32) int { return cmp.Compare(r.pid, pid) })
}

// Put adds what is known of one process, or replaces it, or forgets it where that is nil.
func (t *Table[P]) Put(pid int32, of *P) {
	i, there := search(t.rows, pid)
	if of == nil {
		if there {
			t.rows = slices.Delete(t.rows, i, i+1)
		}
		return
	}
	if !there {
		t.rows = slices.Insert(t.rows, i, row[P]{pid: pid})
	}
	t.rows[i].of = of
}

// Len returns of how many processes something is known.
func (t *Table[P]) Len() int { return len(t.rows) }

// All iterates over what is known, by ascending process id; during an Update, over what was known
// before.
func (t *Table[P]) All() iter.Seq2[int32, *P] {
	return func(yield func(int32, *P) bool) {
		for _, r := range t.rows {
			if !yield(r.pid, r.of) {
				return
			}
		}
	}
}
