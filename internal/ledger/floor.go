package ledger

import (
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// Learning the idle floor.
const (
	floorWindow = 10 * time.Second // long enough that the counter's own granularity does not matter
	quietRatio  = 0.05             // a window less busy than this shows what idling costs
)

// A Floor knows a zone's idle power: configured, or learned as the lowest power of quiet windows.
// The zero value has everything to learn.
type Floor struct {
	// Watts is the idle power; 0 while unknown.
	Watts energy.Watts
	// Fixed says that Watts was configured: nothing is learned.
	Fixed bool

	sum            energy.Microjoules // of the window so far
	span           time.Duration
	busy, capacity uint64
}

// Split tells how much of e is the idle part: the floor's power over the span, or, as long as it is
// unknown, the part of the zone's CPUs that was idle. e is what the zone gave over span; busy and
// capacity are ns of CPU time over the same span.
func (f *Floor) Split(e energy.Microjoules, span time.Duration, busy, capacity uint64) energy.Microjoules {
	if f.Fixed || f.Watts > 0 {
		return min(f.Watts.Over(span), e)
	}
	if capacity == 0 {
		return 0
	}
	idle := float64(e) * (1 - float64(min(busy, capacity))/float64(capacity))
	return min(energy.Microjoules(idle), e)
}

// Learn adds e, given over span, to the window of which the floor is learned; busy and capacity are as in Split.
func (f *Floor) Learn(e energy.Microjoules, span time.Duration, busy, capacity uint64) {
	if f.Fixed {
		return
	}
	f.sum += e
	f.span += span
	f.busy += busy
	f.capacity += capacity
	if f.span < floorWindow {
		return
	}
	quiet := float64(f.busy) < quietRatio*float64(f.capacity)
	if w := f.sum.Per(f.span); quiet && w > 0 && (f.Watts == 0 || w < f.Watts) {
		f.Watts = w
	}
	f.Forget()
}

// Forget begins a new window: something happened of which nothing can be learned.
func (f *Floor) Forget() { f.sum, f.span, f.busy, f.capacity = 0, 0, 0, 0 }
