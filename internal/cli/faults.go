package cli

import (
	"slices"
	"sync"

	"github.com/scaph/scaph/internal/snapshot"
)

// faults counts what went wrong beside the meter, over the life of the process: reloads that came to nothing, and what
// exporters could not deliver.
type faults struct {
	mu   sync.Mutex // guards list
	list []snapshot.ErrorCount
}

// add counts a fault of a component.
func (f *faults) add(component string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.list, func(c snapshot.ErrorCount) bool { return c.Component == component })
	if i < 0 {
		i, f.list = len(f.list), append(f.list, snapshot.ErrorCount{Component: component})
	}
	f.list[i].Count++
}

// counts returns those that there were.
func (f *faults) counts() []snapshot.ErrorCount {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}
