package proc

import "testing"

// follow goes through a look at children and their parents.
func follow[T any](d *Descent[T], owner func(ID) (T, bool), pairs ...ID) (passes int) {
	for d.Begin(); d.Again(); passes++ {
		for i := 0; i+1 < len(pairs); i += 2 {
			of, owned := owner(pairs[i+1])
			d.Add(pairs[i], pairs[i+1], of, owned)
		}
	}
	return passes
}

func TestDescent(t *testing.T) {
	qemu, child, grandchild, late := ID{10, 1}, ID{20, 2}, ID{15, 3}, ID{30, 4}
	stranger, init := ID{40, 5}, ID{1, 0}
	owner := func(id ID) (string, bool) { return "vm", id == qemu }
	var d Descent[string]
	if _, ok := d.Of(child); ok {
		t.Error("the zero value knows one")
	}
	follow(&d, owner, grandchild, child, stranger, init, child, qemu) // a grandchild before its parent
	for _, id := range []ID{child, grandchild} {
		if of, ok := d.Of(id); of != "vm" || !ok {
			t.Errorf("%v is %q's", id, of)
		}
	}
	follow(&d, owner, late, grandchild) // whose parent is of an earlier look
	if of, _ := d.Of(late); of != "vm" {
		t.Errorf("it is %q's", of)
	}
	d.Forget(child)
	for _, id := range []ID{stranger, init, qemu, child} {
		if of, ok := d.Of(id); ok {
			t.Errorf("%v is %q's", id, of)
		}
	}
	d.Clear()
	if _, ok := d.Of(late); ok {
		t.Error("it is still known")
	}
}

// The parent's id may be another's by now, and what cannot be may be told: a loop.
func TestDescentOfNonsense(t *testing.T) {
	owner := func(id ID) (int, bool) { return 7, id.PID == 10 }
	var d Descent[int]
	young, a, b := ID{20, 5}, ID{30, 9}, ID{31, 9}
	follow(&d, owner, young, ID{10, 6}, a, b, b, a, a, a)
	for _, id := range []ID{young, a, b} {
		if of, ok := d.Of(id); ok {
			t.Errorf("%v is %d's", id, of)
		}
	}
}

// However long a chain is told backwards, there is an end.
func TestDescentIsBounded(t *testing.T) {
	var pairs []ID
	for pid := int32(300); pid > 1; pid-- {
		pairs = append(pairs, ID{pid, uint64(pid)}, ID{pid - 1, uint64(pid - 1)})
	}
	var d Descent[int]
	owner := func(id ID) (int, bool) { return 7, id.PID == 1 }
	if passes := follow(&d, owner, pairs...); passes != maxGenerations || d.Len() != maxGenerations {
		t.Errorf("%d found in %d passes", d.Len(), passes)
	}
	if _, ok := d.Of(ID{2, 2}); !ok {
		t.Error("the nearest is not among them")
	}
	follow(&d, owner, pairs...) // the next look goes on
	if d.Len() != 2*maxGenerations {
		t.Errorf("%d found", d.Len())
	}
}

// A look at processes that are nobody's costs no memory.
func TestDescentAllocatesNothing(t *testing.T) {
	var d Descent[int]
	if n := testing.AllocsPerRun(100, func() {
		for d.Begin(); d.Again(); {
			d.Add(ID{20, 2}, ID{10, 1}, 0, false)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
