package vmmap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is the time between two looks at processes and runtime files. It bounds how long a VM
	// that libvirt did not announce stays unknown.
	lookEvery = 5 * time.Second
	// listEvery is the time between two full looks: all processes, and all domains of libvirt.
	listEvery = time.Minute
	// rescanEvery is the time between two full looks at processes where all that begin are told of by
	// Notice: what one executes under its old name may show no sooner.
	rescanEvery = 10 * time.Minute
	// settle is how long after an announcement of libvirt's a look is made: changes come in bursts, and
	// a starting qemu writes its files a moment later.
	settle = 200 * time.Millisecond
	// spacing is the least time between two such looks: with many VMs one costs some 0.3 s of CPU time.
	spacing = time.Second
)

var errNotYet = errors.New("libvirt has not been asked yet")

// A Lister is the best rung of the ladder: libvirt's API.
type Lister interface {
	// List gives all domains, running or not. It returns within seconds, whatever hangs.
	List(context.Context) ([]Domain, error)
	// Changed delivers when a listing may differ from the last one; announcements that come while
	// one is waiting are merged with it.
	Changed() <-chan struct{}
}

// Config says where a Mapper looks.
type Config struct {
	Procfs  string // mount point of procfs: /proc
	Runtime string // libvirt's state directory: /run/libvirt/qemu
	Libvirt Lister // nil where there is none
	Without string // why Libvirt is nil, for people
	Log     *slog.Logger
}

// A Mapper keeps the Map up to date, off the tick. Current may be called by anybody at any time.
type Mapper struct {
	config    Config
	current   atomic.Pointer[Map]
	faults    atomic.Uint64
	conflicts atomic.Uint64

	noticed notices

	mu        sync.Mutex // guards what follows: one look at a time; not held while libvirt is asked
	processes *processes
	runtime   *runtimeDir
	listing   listing
	looked    bool                 // processes and runtime files were looked at
	behind    bool                 // a qemu was met after libvirt was asked
	scanned   time.Time            // when all processes were looked at last
	held      map[string]*VM       // by UUID: the VMs of the last look, or of an earlier run
	past      map[string]time.Time // see Past
	pastVMs   []Past               // the same, nil if it is to be made
	disputes  disputes
}

// listing is what libvirt said last.
type listing struct {
	domains  []Domain
	answered bool      // since the start; before it does, domains are those of an earlier run
	err      error     // of the last attempt
	since    time.Time // when err began
	lost     uint64    // failed attempts, cumulative
	asked    uint32    // number of the last look before the last attempt
}

// New makes a Mapper that knows nothing yet: Current gives an empty Map until the first Refresh.
func New(config Config) *Mapper {
	m := &Mapper{
		config:    config,
		processes: newProcesses(config.Procfs),
		runtime:   &runtimeDir{path: config.Runtime},
		noticed:   notices{wake: make(chan struct{}, 1)},
		held:      map[string]*VM{},
		past:      map[string]time.Time{},
		disputes:  newDisputes(config.Log),
	}
	first := NewMap(nil, "nothing was looked at yet")
	first.Complete, first.Blind = false, true
	m.current.Store(first)
	return m
}

// Current gives the last Map, never nil. The same pointer as before means that nothing changed.
func (m *Mapper) Current() *Map { return m.current.Load() }

// Faults counts what could not be read or understood since the start; each was skipped.
func (m *Mapper) Faults() uint64 { return m.faults.Load() }

// Conflicts counts claims of processes to what is another VM's, and VMs beyond the bounds, since
// the start.
func (m *Mapper) Conflicts() uint64 { return m.conflicts.Load() }

// Run keeps the Map up to date until ctx ends, which is not an error. Its caller waits for it.
func (m *Mapper) Run(ctx context.Context) error {
	look, list := time.NewTicker(lookEvery), time.NewTicker(listEvery)
	defer look.Stop()
	defer list.Stop()
	var changed <-chan struct{}
	if m.config.Libvirt != nil {
		changed = m.config.Libvirt.Changed()
	}
	urgent := make(chan struct{}, 1)
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() { m.watch(ctx, urgent) })
	var due <-chan time.Time // delivers when an announced change has settled; nil without one
	var last time.Time       // that was looked at
	announce := func() {
		if due == nil {
			due = time.After(max(settle, spacing-time.Since(last)))
		}
	}
	for {
		full := true
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			full = false
		case <-list.C:
		case <-urgent:
			announce()
			continue
		case <-changed:
			announce()
			continue
		case last = <-due:
			due = nil
		}
		if err := m.refresh(ctx, full); err != nil && ctx.Err() == nil {
			m.config.Log.Error("virtual machines cannot be looked up; the last known ones stay", "error", err)
		}
	}
}

// Refresh looks at everything once and publishes what it finds. It fails only where processes cannot be
// listed, or when ctx ends first; then the last Map stays.
func (m *Mapper) Refresh(ctx context.Context) error { return m.refresh(ctx, true) }

// refresh looks at what may have changed, or at everything.
func (m *Mapper) refresh(ctx context.Context, full bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.countFaults()
	told := m.noticed.complete() && time.Since(m.scanned) < rescanEvery
	changed, err := m.look(ctx, full, told)
	if err == nil && (changed || m.behind) && !full { // a new qemu is reason enough to look at everything
		full = true
		_, err = m.look(ctx, full, told)
	}
	if err != nil {
		m.noticed.miss()
		m.processes.faults++
		return err
	}
	// Processes first, libvirt after them: so a listing that shows a domain as shut off is younger than the
	// sight of a process that claims to be it.
	if full {
		m.behind = false
		m.list(ctx)
	}
	if full || m.processes.moved || m.runtime.moved() {
		m.publish()
	}
	return nil
}

// look brings the table of processes up to date: by a listing, or, where all that begin were told of,
// without one.
func (m *Mapper) look(ctx context.Context, full, told bool) (changed bool, err error) {
	if told {
		return m.processes.revisit(ctx, full)
	}
	if full {
		m.scanned = time.Now()
	}
	return m.processes.scan(ctx, full)
}

func (m *Mapper) countFaults() {
	m.faults.Store(m.processes.faults + m.runtime.faults + m.listing.lost)
}

// publish decides by all that is known which processes are VMs.
func (m *Mapper) publish() {
	m.processes.moved = false
	files := m.runtime.read()
	asked := m.listing.asked
	if m.config.Libvirt == nil {
		asked = math.MaxUint32 // no answer will come
	}
	vms, conflicts := merge(evidence{
		processes: &m.processes.known,
		boot:      m.processes.boot,
		domains:   m.listing.domains,
		fresh:     m.listing.answered && m.listing.err == nil,
		asked:     asked,
		runtime:   files,
		held:      m.held,
		past:      m.past,
	})
	m.looked = true
	m.remember(vms)
	// What libvirt was not asked about yet is no conflict: it may be a domain that just started.
	conflicts = slices.DeleteFunc(conflicts, func(c conflict) bool { return c.found > asked })
	m.conflicts.Add(m.disputes.settle(conflicts, time.Now()))
	next := NewMap(vms, m.note(files.err))
	next.Complete = m.config.Libvirt == nil || m.listing.answered
	next.Past = m.listPast()
	if !next.equal(m.current.Load()) {
		m.current.Store(next)
	}
}

// list asks libvirt, and keeps the last answer where it does not give one. While it waits, others
// may look: libvirt may hang for seconds.
func (m *Mapper) list(ctx context.Context) {
	if m.config.Libvirt == nil {
		return
	}
	asked := m.processes.looks
	m.mu.Unlock()
	domains, err := m.config.Libvirt.List(ctx)
	m.mu.Lock()
	l := &m.listing
	l.asked = asked
	switch {
	case err == nil:
		if l.err != nil {
			m.config.Log.Info("libvirt answers again", "domains", len(domains))
		}
		l.domains, l.err, l.answered = domains, nil, true
	case ctx.Err() != nil && l.answered: // our own end, not libvirt's
	default:
		l.lost++
		if l.err == nil {
			l.since = time.Now()
			m.config.Log.Warn("libvirt does not answer; metering goes on with what is known", "error", err)
		}
		l.err = err
	}
}

// note says which rung is in use and why not a better one.
func (m *Mapper) note(runtime error) string {
	var parts []string
	switch l := &m.listing; {
	case m.config.Libvirt == nil && runtime == nil:
		parts = append(parts, "runtime files")
	case m.config.Libvirt == nil:
		parts = append(parts, "command lines")
	case l.err == nil:
		parts = append(parts, "libvirt")
	case l.answered || len(l.domains) > 0:
		parts = append(parts, "libvirt, stale since "+l.since.Format(time.TimeOnly))
	case runtime == nil:
		parts = append(parts, "runtime files")
	default:
		parts = append(parts, "command lines")
	}
	if m.config.Libvirt == nil && m.config.Without != "" {
		parts = append(parts, "no libvirt: "+m.config.Without)
	} else if m.listing.err != nil {
		parts = append(parts, "libvirt: "+m.listing.err.Error())
	}
	if runtime != nil {
		parts = append(parts, "runtime files: "+runtime.Error())
	}
	if hint := m.processes.hiddenBy(); hint != "" {
		parts = append(parts, hint)
	}
	if n := m.processes.hidden; n > 0 {
		parts = append(parts, fmt.Sprintf("%d processes are named like a qemu, but their executable cannot be seen (CAP_SYS_PTRACE)", n))
	}
	return strings.Join(parts, "; ")
}
