package vfs

import (
	"encoding/binary"
	"slices"
	"testing"
)

// TestFairQueue has one VM ask for much before two others ask for little.
func TestFairQueue(t *testing.T) {
	q := newQueue()
	add := func(vm slot, mark byte) {
		data := make([]byte, requestHeader+1)
		binary.NativeEndian.PutUint64(data[nodeOffset:], vm.node(vmDir))
		data[requestHeader] = mark
		q.add(data)
	}
	take := func() byte {
		r, ok := q.next()
		if !ok {
			return 0
		}
		defer q.done(r)
		return r.data[requestHeader]
	}
	for i := range byte(100) {
		add(1, 'a'+i%26)
	}
	var got []byte
	got = append(got, take(), take())
	add(2, 'A')
	add(2, 'B')
	add(3, '1')
	for range 7 {
		got = append(got, take())
	}
	if want := []byte("abA1cBdef"); !slices.Equal(got, want) {
		t.Errorf("answered in the order %q, want %q", got, want)
	}
	for !slices.Equal(got[len(got)-1:], []byte{0}) {
		got = append(got, take())
	}
	if len(got)-1 != 103 {
		t.Errorf("%d requests answered, want 103", len(got)-1)
	}
	if n := testing.AllocsPerRun(100, func() { add(1, 'x'); take() }); n > 1 { // the request made here
		t.Errorf("%v allocations per request", n)
	}
}
