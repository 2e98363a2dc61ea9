//go:build lab

package lab

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scaph/scaph/test/lab/reads"
)

// vmRange is where the counter that a guest reads wraps, by its max_energy_range_uj.
const vmRange = 262143328850

// A watcher scrapes an exporter all the time and holds each scrape to what must always be true.
// It also keeps the values that each VM's package counter has had.
type watcher struct {
	url    string
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex // over all below
	scrapes int
	faults  []string
	outage  bool // scrapes may fail for now
	missed  int  // scrapes that did
	last    *scrape
	slowest time.Duration
	gap     time.Duration        // the longest time between two scrapes
	series  map[string]vmCounter // by UUID
}

// A vmCounter is the sequence of distinct values of a VM's counter, each with the time when it
// was first scraped.
type vmCounter []reads.Value

// watch scrapes url at the given interval until the watcher is stopped or the test ends.
func watch(t *testing.T, url string, interval time.Duration) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{url: url, cancel: cancel, done: make(chan struct{}), series: map[string]vmCounter{}}
	go w.run(ctx, interval)
	t.Cleanup(w.stop)
	return w
}

func (w *watcher) stop() {
	w.cancel()
	<-w.done
}

func (w *watcher) run(ctx context.Context, interval time.Duration) {
	defer close(w.done)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		s, err := fetch(ctx, w.url)
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		switch {
		case w.outage && err != nil:
			w.missed++
		case err != nil:
			w.fault(time.Now(), err.Error())
		default:
			w.take(s)
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// allowOutage says whether scrapes may fail from now on. What they give must be right all the same.
func (w *watcher) allowOutage(allowed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outage = allowed
}

// take judges one scrape. The caller holds the lock.
func (w *watcher) take(s *scrape) {
	w.scrapes++
	w.slowest = max(w.slowest, s.Ended.Sub(s.Begun))
	if err := s.identity(); err != nil {
		w.fault(s.Ended, err.Error())
	}
	if w.last != nil {
		w.gap = max(w.gap, s.Ended.Sub(w.last.Ended))
		for _, fall := range falls(w.last, s) {
			w.fault(s.Ended, fall)
		}
	}
	w.last = s
	for _, vm := range s.Find("scaph_vm_info") {
		uuid := vm.Labels["uuid"]
		value := s.Sum("scaph_vm_energy_joules_total", "uuid", uuid, "zone", "package") % vmRange
		if have := w.series[uuid]; len(have) == 0 || have[len(have)-1].Value != value {
			w.series[uuid] = append(have, reads.Value{Value: value, At: s.Ended})
		}
	}
}

// falls names the counters of energy and time that were smaller in the later of two scrapes, or gone
// where they must stay. What counts the process itself begins anew when that does.
func falls(before, after *scrape) []string {
	now := make(map[string]float64, len(after.Samples))
	for _, one := range after.Samples {
		now[one.Key] = one.Value
	}
	var found []string
	for _, one := range before.Samples {
		if !strings.HasPrefix(one.Name, "scaph_") ||
			!strings.HasSuffix(one.Name, "_joules_total") && !strings.HasSuffix(one.Name, "_seconds_total") {
			continue
		}
		value, there := now[one.Key]
		switch {
		case there && value < one.Value:
			found = append(found, fmt.Sprintf("%s fell from %v to %v", one.Key, one.Value, value))
		case !there && one.Labels["pid"] == "": // a listed process may go, nothing else
			found = append(found, one.Key+" is gone")
		}
	}
	return found
}

func (w *watcher) fault(at time.Time, what string) {
	if len(w.faults) < 20 {
		w.faults = append(w.faults, at.UTC().Format("15:04:05.000 ")+what)
	}
}

// now gives the last scrape; nil before the first.
func (w *watcher) now() *scrape {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// of gives the values of a VM's counter so far.
func (w *watcher) of(uuid string) vmCounter {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(vmCounter(nil), w.series[uuid]...)
}

// judge reports what the watcher saw.
func (w *watcher) judge(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("%s: %d scrapes, %d more missed in outages, slowest %s, longest gap %s", w.url, w.scrapes, w.missed, w.slowest.Round(time.Microsecond), w.gap.Round(time.Millisecond))
	for _, fault := range w.faults {
		t.Error(fault)
	}
	if w.scrapes == 0 {
		t.Error("never scraped")
	}
}

// place gives the index of the value that was current at a moment, -1 before the first.
func (c vmCounter) place(at time.Time) int {
	for i := len(c) - 1; i >= 0; i-- {
		if !c[i].At.After(at) {
			return i
		}
	}
	return -1
}

// index gives the places of all values.
func (c vmCounter) index() map[uint64]int {
	places := make(map[uint64]int, len(c))
	for i, v := range c {
		places[v.Value] = i
	}
	return places
}
