//go:build lab

package lab

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/scaph/scaph/test/lab/reads"
)

// An observation is what one reader met with while something was done to its source.
type observation struct {
	who string
	reads.Report
}

// observe does something while six readers read 100 times a second each: one in each guest, and on the host
// two of each guest's directory, by opening the file and through a held descriptor. What is done must be done
// when their time is over. Scrapes may fail meanwhile.
func observe(t *testing.T, g *ground, howLong time.Duration, what func()) []observation {
	t.Helper()
	g.watch.allowOutage(true)
	defer g.watch.allowOutage(false)
	plan := func(path string, mode reads.Mode) reads.Plan {
		return reads.Plan{Path: path, Mode: mode, Rate: 100, For: howLong, Range: vmRange}
	}
	var (
		readers sync.WaitGroup
		mu      sync.Mutex // over all
		all     []observation
	)
	add := func(who string, r reads.Report) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, observation{who, r})
	}
	for i, vm := range g.guests {
		vm.load(t, 5)
		mode := []reads.Mode{reads.Open, reads.Held}[i]
		readers.Go(func() { add("guest, "+vm.share+", "+string(mode), vm.carryOut(t, plan(guestEnergy, mode))) })
		for _, mode := range []reads.Mode{reads.Open, reads.Held} {
			readers.Go(func() {
				r, err := reads.Run(t.Context(), plan(filepath.Join(vm.source, "intel-rapl:0", "energy_uj"), mode))
				if err != nil {
					t.Error(err)
				}
				add("host, "+vm.share+", "+string(mode), r)
			})
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		readers.Wait()
	}()
	// A reader whose request was lost waits in the kernel for good.
	ctx, cancel := context.WithTimeout(context.Background(), 2*howLong+time.Minute)
	defer cancel()
	allEnded := func() bool {
		select {
		case <-ended:
			return true
		case <-ctx.Done():
			return false
		}
	}
	defer allEnded() // if what is done fails the test
	begin := time.Now()
	what()
	if took := time.Since(begin); took > howLong {
		t.Errorf("it took %s, the readers read for %s only: the machine is too busy for this test", took, howLong)
	}
	inTime := allEnded()
	mu.Lock()
	defer mu.Unlock()
	for _, one := range all {
		t.Logf("%s: %s", one.who, one.Report)
	}
	if !inTime {
		t.Fatalf("%d readers are stuck", 3*len(g.guests)-len(all))
	}
	return all
}

// unnoticed holds observers to have read all that they meant to, without a fault, and to have had something to
// see.
func unnoticed(t *testing.T, all []observation) {
	t.Helper()
	var total int
	var longest time.Duration
	for _, one := range all {
		total += one.Reads
		longest = max(longest, one.LongestStall)
		if one.Faults() > 0 {
			t.Errorf("%s noticed: %s", one.who, one.FirstFailure)
		}
		if len(one.Values) < 2 {
			t.Errorf("%s saw a counter that stands still", one.who)
		}
	}
	t.Logf("%d readers, %d reads, longest stall %s", len(all), total, longest.Round(time.Millisecond))
}

// pause lets time pass, during which others do something.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-t.Context().Done():
	case <-timer.C:
	}
}
