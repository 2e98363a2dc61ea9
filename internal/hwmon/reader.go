package hwmon

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// ErrNone says that there is no chip with a channel that counts.
var ErrNone = errors.New("no energy or power sensor")

const (
	// firstAnswer is how long Open waits for the devices' first answers.
	firstAnswer = 250 * time.Millisecond
	// lastAnswer is how long Close waits for them to end.
	lastAnswer = time.Second
)

// A Reader reads all chips of a machine. It is used by one goroutine at a time.
type Reader struct {
	log     *slog.Logger
	zones   []energy.Zone
	devices []*device
	faults  atomic.Uint64
	stop    chan struct{}
	running sync.WaitGroup
}

// An Option changes how Open works.
type Option func(*options)

type options struct {
	log  *slog.Logger
	read readFunc
	now  func() time.Duration
}

// WithLogger sets where zones that are left out are reported (default: slog.Default()).
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// Open finds the chips below <sysfs>/class/hwmon and begins to read them. The error wraps ErrNone
// if there are none. A zone that cannot be read now is among the Zones all the same.
func Open(sysfs string, opts ...Option) (*Reader, error) {
	start := time.Now()
	o := options{log: slog.Default(), read: readFile, now: func() time.Duration { return time.Since(start) }}
	for _, option := range opts {
		option(&o)
	}
	found, err := discover(sysfs, o.read)
	if err != nil {
		return nil, fmt.Errorf("hwmon: %w", err)
	}
	if len(found.chips) == 0 {
		return nil, fmt.Errorf("%w in %s", ErrNone, classDir(sysfs))
	}
	if found.over > 0 {
		o.log.Warn("hwmon zones are left out", "zones", maxZones, "left_out", found.over, "dir", classDir(sysfs))
	}
	r := &Reader{log: o.log, zones: found.zones(), stop: make(chan struct{})}
	answers := make(chan struct{}, len(found.chips))
	for _, c := range found.chips {
		d := &device{chip: c, sysfs: sysfs, read: o.read, now: o.now, faults: &r.faults, answers: make([]answer, len(c.channels))}
		r.devices = append(r.devices, d)
		r.running.Go(func() { d.run(r.stop, func() { answers <- struct{}{} }) })
	}
	timeout := time.NewTimer(firstAnswer)
	defer timeout.Stop()
	for range found.chips {
		select {
		case <-answers:
		case <-timeout.C:
			return r, nil
		}
	}
	return r, nil
}

// Look returns the zones that Open would have, without reading any; none if it would fail.
func Look(sysfs string) []energy.Zone {
	found, err := discover(sysfs, readFile)
	if err != nil {
		return nil
	}
	return found.zones()
}

// Zones returns the zones in the order of Read: platforms first, then by device.
//
// Their Range is 0, not known: a counter that falls was reset.
func (r *Reader) Zones() []energy.Zone { return slices.Clone(r.zones) }

// Read puts what each zone was last found to be into dst, one Reading for each of Zones; what does
// not fit is left out. It never waits for a device: a Reading has an Age, and becomes an error
// where a device gives no answer.
func (r *Reader) Read(dst []energy.Reading) {
	n := 0
	for _, d := range r.devices {
		for i := range d.channels {
			if n == len(dst) {
				return
			}
			dst[n] = d.reading(i)
			n++
		}
	}
}

// Faults counts the readings that failed or were refused, the times that a device gave no answer,
// and those over which nothing was integrated, since Open.
func (r *Reader) Faults() uint64 { return r.faults.Load() }

// Close ends the reading; it never fails. A read that the kernel does not end is left behind, and
// its goroutine ends when it does.
func (r *Reader) Close() error {
	close(r.stop)
	ended := make(chan struct{})
	go func() { r.running.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(lastAnswer):
		r.log.Warn("hwmon device does not answer; its read is left behind")
	}
	return nil
}
