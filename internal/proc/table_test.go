package proc

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// Whatever comes, goes and is put, the table is what a map would be, and each process is met once.
func TestTable(t *testing.T) {
	type known struct{ pid, looks int32 }
	random := rand.New(rand.NewPCG(1, 2))
	var table Table[known]
	model := map[int32]int32{} // looks, by process id
	check := func(round int) {
		t.Helper()
		var pids []int32
		for pid, q := range table.All() {
			pids = append(pids, pid)
			if q.pid != pid || model[pid] != q.looks || table.Find(pid) != q {
				t.Fatalf("round %d: %d is %+v, want %d looks", round, pid, q, model[pid])
			}
		}
		if !slices.Equal(pids, slices.Sorted(maps.Keys(model))) || table.Len() != len(model) {
			t.Fatalf("round %d: %v, want %v", round, pids, model)
		}
	}
	for round := range 500 {
		var listed []int32
		for pid := int32(1); pid < 60; pid++ {
			if random.IntN(3) > 0 {
				listed = append(listed, pid)
			}
		}
		var met []int32
		table.Update(listed, func(pid int32, q *known, is bool) *known {
			met = append(met, pid)
			_, was := model[pid]
			if is != slices.Contains(listed, pid) || was != (q != nil) {
				t.Fatalf("round %d: %d is listed %v, known %v", round, pid, is, q)
			}
			if was && table.Find(pid) != q {
				t.Fatalf("round %d: %d cannot be found", round, pid)
			}
			if !is && random.IntN(2) == 0 {
				delete(model, pid)
				return nil
			}
			if q == nil {
				q = &known{pid: pid}
			}
			q.looks++
			model[pid] = q.looks
			return q
		})
		if !slices.IsSorted(met) || len(slices.Compact(slices.Clone(met))) != len(met) {
			t.Fatalf("round %d: met %v", round, met)
		}
		check(round)
		for range 3 {
			pid := random.Int32N(70)
			table.Put(pid, &known{pid, 7})
			model[pid] = 7
			gone := random.Int32N(70)
			table.Put(gone, nil)
			delete(model, gone)
		}
		check(round)
	}
	if table.Find(1000) != nil {
		t.Error("found a stranger")
	}
}

// During an update the new state of what was met is found, and the old one of what was not.
func TestTableDuringUpdate(t *testing.T) {
	var table Table[string]
	put := func(pid int32, text string) { table.Put(pid, &text) }
	put(1, "old")
	put(3, "old")
	var got []string
	table.Update([]int32{1, 2, 3}, func(pid int32, _ *string, _ bool) *string {
		for other := range int32(4) {
			if q := table.Find(other); q != nil {
				got = append(got, fmt.Sprint(pid, " sees ", other, " ", *q))
			}
		}
		text := "new"
		return &text
	})
	want := []string{
		"1 sees 1 old", "1 sees 3 old",
		"2 sees 1 new", "2 sees 3 old",
		"3 sees 1 new", "3 sees 2 new", "3 sees 3 old",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestTableAllocatesNothing(t *testing.T) {
	var table Table[int]
	listed := make([]int32, 100)
	for i := range listed {
		listed[i] = int32(i + 1)
	}
	value := new(int)
	look := func(_ int32, q *int, _ bool) *int {
		if q == nil {
			return value
		}
		return q
	}
	update := func() { table.Update(listed, look) }
	update()
	update()
	if n := testing.AllocsPerRun(100, update); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
