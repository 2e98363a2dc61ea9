package proc

// A Descent tells whose a process is that was started, over however many generations, by one that is
// somebody's: by a VM's qemu or one of its helpers, say. A child may be told before its parent, so
// the processes of one look are gone through again as long as that finds some:
//
//	for d.Begin(); d.Again(); {
//		for each process {
//			d.Add(process, parent, owner of the parent)
//		}
//	}
//
// The zero value knows of none.
type Descent[T any] struct {
	of     map[ID]T
	passes int
	found  bool // in this pass
}

// maxGenerations bounds how many generations, each told before the one that started it, are found in
// one look.
const maxGenerations = 64

// Begin begins a look.
func (d *Descent[T]) Begin() { d.passes, d.found = 0, true }

// Again reports whether the processes of the look are to be gone through, for the first time or
// again.
func (d *Descent[T]) Again() bool {
	again := d.found && d.passes < maxGenerations
	d.passes++
	d.found = false
	return again
}

// Add tells of a process that is nobody's yet, and whose its parent is, if it is known to be
// somebody's other than by its descent. A parent that is younger than its child has only got the id
// of the parent that ended.
func (d *Descent[T]) Add(process, parent ID, owner T, owned bool) {
	if _, known := d.of[process]; known || parent.Start > process.Start {
		return
	}
	if !owned {
		if owner, owned = d.of[parent]; !owned {
			return
		}
	}
	if d.of == nil {
		d.of = make(map[ID]T)
	}
	d.of[process] = owner
	d.found = true
}

// Of returns whose a process is by its descent.
func (d *Descent[T]) Of(id ID) (T, bool) {
	of, ok := d.of[id]
	return of, ok
}

// Forget drops a process that has ended.
func (d *Descent[T]) Forget(id ID) { delete(d.of, id) }

// Len returns how many processes it knows of.
func (d *Descent[T]) Len() int { return len(d.of) }

// Clear drops all.
func (d *Descent[T]) Clear() { clear(d.of) }
