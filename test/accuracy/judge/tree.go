package judge

import "fmt"

// A Tree is what a reader of the guests' counters saw.
type Tree struct {
	Reads  int               // good ones
	Away   int               // those that failed, as nobody served the tree
	Last   map[string]uint64 // by UUID: the last value in µJ
	fallen []string
}

// Read takes one value of a guest's counter. They come in the order of time.
func (t *Tree) Read(uuid string, uj uint64) {
	t.Reads++
	if before := t.Last[uuid]; uj < before {
		t.fallen = append(t.fallen, fmt.Sprintf("the tree of %s fell from %d to %d µJ", uuid, before, uj))
	}
	t.Last[uuid] = uj
}

// Tree takes what the reader saw. The last values are from after the last scrape, with nothing going on between.
func (j *Judge) Tree(t Tree) { j.tree = &t }

// atTree judges the tree by the last scrape.
func (v *Verdict) atTree(t *Tree, s *scrape) {
	v.TreeReads, v.TreeAway = t.Reads, t.Away
	v.Decreases = append(v.Decreases, t.fallen...)
	for uuid, uj := range t.Last {
		v.Tree = max(v.Tree, abs(int64(uj)-s.packages[uuid]))
	}
}
