package hwmon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// How often a device is read: as often as it has new values, within these bounds.
const (
	fastest = 200 * time.Millisecond
	slowest = time.Second
)

// A device reads one chip, in a goroutine of its own.
type device struct {
	chip
	sysfs  string
	read   readFunc
	now    func() time.Duration // a clock that never goes back
	faults *atomic.Uint64       // readings that failed or were refused, and gaps

	mu       sync.Mutex // guards what follows; never held during a read
	answers  []answer   // by channel
	answered time.Duration
	asked    time.Duration
	silent   bool // its silence was counted
}

// An answer is what a channel was last found to be.
type answer struct {
	energy, bound energy.Microjoules
	at            time.Duration // when the counter was last brought up to date
	known         bool
	err           error
}

// A channel is what the device's goroutine knows of one, beside its answer.
type channel struct {
	found
	integral integral
}

var errNoAnswer = errors.New("the device has not answered yet")

// run reads the device at once and then in its period, until stop is closed. It calls ready after
// the first time.
func (d *device) run(stop <-chan struct{}, ready func()) {
	channels := make([]channel, len(d.channels))
	period := slowest
	for i, f := range d.channels {
		channels[i] = channel{found: f, integral: integral{updates: f.updates}}
		if f.updates > 0 {
			period = min(period, max(fastest, f.updates))
		}
	}
	d.poll(channels)
	ready()
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			d.poll(channels)
		case <-stop:
			return
		}
	}
}

// poll reads each channel once. If none can be read, it looks for where the kernel has the device
// now.
func (d *device) poll(channels []channel) {
	d.mu.Lock()
	d.asked = d.now()
	d.mu.Unlock()
	gone := true
	for i := range channels {
		a := d.ask(&channels[i])
		gone = gone && a.err != nil
		d.mu.Lock()
		d.take(i, a)
		d.mu.Unlock()
	}
	d.mu.Lock()
	d.answered, d.silent = d.now(), false
	d.mu.Unlock()
	if gone {
		d.find()
	}
}

// ask reads one channel.
func (d *device) ask(c *channel) (a answer) {
	v, err := readNumber(d.read, filepath.Join(d.dir, c.file))
	if err == nil {
		err = c.quantity.refuse(v)
	}
	if err != nil {
		d.faults.Add(1)
		return answer{err: err}
	}
	now := d.now()
	if c.quantity == quantityEnergy {
		return answer{energy: energy.Microjoules(v), at: now, known: true}
	}
	if c.integral.add(now, v) {
		d.faults.Add(1)
	}
	return answer{
		energy: c.integral.energy.microjoules, bound: c.integral.bound.microjoules, at: c.integral.last, known: true,
	}
}

// take takes an answer; the lock is held. A failure leaves what was known.
func (d *device) take(i int, a answer) {
	if a.err != nil {
		d.answers[i].err = a.err
		return
	}
	d.answers[i] = a
}

// find looks for the device where the kernel may have put it: it was taken out and has come back,
// or its driver was loaded again, and N of hwmonN is another.
func (d *device) find() {
	entries, err := os.ReadDir(classDir(d.sysfs))
	if err != nil {
		return // it is told by the readings that fail
	}
	for _, entry := range entries {
		c, ok := identify(d.sysfs, filepath.Join(classDir(d.sysfs), entry.Name()), d.read)
		if ok && c.id == d.id {
			d.dir = c.dir
			return
		}
	}
}

// silence is how long a device may take for an answer before it counts as one that gives none.
const silence = 5 * time.Second

// reading returns the last answer of a channel; it never waits for the device.
func (d *device) reading(i int) (r energy.Reading) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, a := d.now(), d.answers[i]
	switch waited := now - d.asked; {
	case d.asked > d.answered && waited > silence:
		if !d.silent {
			d.silent = true
			d.faults.Add(1)
		}
		r.Err = fmt.Errorf("the device has not answered for %v", waited.Truncate(time.Second))
	case a.err != nil:
		r.Err = a.err
	case !a.known:
		r.Err = errNoAnswer
	default:
		r.Energy, r.Bound, r.Age = a.energy, a.bound, now-a.at
	}
	return r
}
