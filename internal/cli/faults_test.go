package cli

import (
	"slices"
	"sync"
	"testing"

	"github.com/scaph/scaph/internal/snapshot"
)

// Faults are counted by component, by several at a time, and what was handed out does not change.
func TestFaults(t *testing.T) {
	var f faults
	if got := f.counts(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				f.add("json")
				_ = f.counts()
			}
		})
	}
	all.Wait()
	before := f.counts()
	f.add("reload")
	f.add("json")
	if want := []snapshot.ErrorCount{{Component: "json", Count: 400}}; !slices.Equal(before, want) {
		t.Errorf("%v, want %v", before, want)
	}
	if want := []snapshot.ErrorCount{{Component: "json", Count: 401}, {Component: "reload", Count: 1}}; !slices.Equal(f.counts(), want) {
		t.Errorf("%v, want %v", f.counts(), want)
	}
}
