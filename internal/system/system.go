// Package system collects what the compatibility table of metrics shows of the host beyond energy: load, memory, disks, and
// what processes use. It reads /proc beside the ticks and the scrapes, once in a while and in a goroutine of its own, and
// hands the result out as an immutable value.
//
// Reads that may never return (the arguments of a stuck process, the size of a file system whose server is away) are made in
// goroutines that can be left behind; see patient.
package system

import (
	"context"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
)

// minInterval is how often one collects at most: it costs some 30 µs for each process that is shown.
const minInterval = 5 * time.Second

// Options say what a Collector reads.
type Options struct {
	Procfs, Sysfs string
	// Next waits for a Snapshot with a Seq above after, and returns nil when ctx is done. Its processes are looked at.
	Next    func(ctx context.Context, after uint64) *snapshot.Snapshot
	Version string // of the program
}

// A Collector collects in Run, and hands out in Latest.
type Collector struct {
	options Options
	latest  atomic.Pointer[series.System]
	cpus    int
	// Who makes reads of processes hang does not take the disks away, nor the other way round.
	ofProcesses, ofDisks *patient

	// Of the collection before.
	at        time.Time
	self      time.Duration // CPU time of ours
	measured  time.Time     // Snapshot.Time
	processes map[int32]*series.ProcessUse
	cpu       map[int32]time.Duration // by process id
	cmdlines  map[process]string
}

// A process is one for as long as it is the same.
type process struct {
	pid   int32
	start uint64
	vm    string // its UUID, where start is not known
	exe   string
}

// New returns a Collector that has collected nothing yet.
func New(o Options) *Collector {
	return &Collector{options: o, cpus: runtime.NumCPU(), ofProcesses: newPatient(), ofDisks: newPatient()}
}

// Latest returns what was collected last; nil before the first time. It must not be changed.
func (c *Collector) Latest() *series.System { return c.latest.Load() }

// Run collects until ctx is done.
func (c *Collector) Run(ctx context.Context) error {
	var at time.Time
	for s := c.options.Next(ctx, 0); s != nil; s = c.options.Next(ctx, s.Seq) {
		if age := s.Time.Sub(at); age >= 0 && age < minInterval { // less: the clock was set back
			continue
		}
		at = s.Time
		c.collect(ctx, s)
	}
	return nil
}

// collect reads everything once. What cannot be read is left out.
func (c *Collector) collect(ctx context.Context, at *snapshot.Snapshot) {
	s := &series.System{
		Version: majorMinor(c.options.Version),
		Self:    c.readSelf(at.Time),
		Load:    c.readLoad(),
		MHz:     c.readFrequency(),
		Memory:  c.readMemory(),
		Kernel:  c.readKernel(),
		Disks:   c.readDisks(ctx),
	}
	c.readProcesses(ctx, at)
	s.Processes = c.processes
	if ctx.Err() == nil {
		c.latest.Store(s)
	}
}

// majorMinor makes a number of the first two parts of a version: 1.2 of v1.2.3; 0 of what is none.
func majorMinor(version string) float64 {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return 0
	}
	n, err := strconv.ParseFloat(parts[0]+"."+parts[1], 64)
	if err != nil {
		return 0
	}
	return n
}

// percent returns which part of the time of all CPUs, since a time that may be unknown, a CPU time is.
func (c *Collector) percent(used time.Duration, now, since time.Time) float64 {
	elapsed := now.Sub(since)
	if used <= 0 || elapsed <= 0 || since.IsZero() {
		return 0
	}
	return 100 * used.Seconds() / elapsed.Seconds() / float64(c.cpus)
}
