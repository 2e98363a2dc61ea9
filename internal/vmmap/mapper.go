package vmmap

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
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
	// settle is how long after an announcement of libvirt's a look is made: changes come in bursts, and
	// a starting qemu writes its files a moment later.
	settle = 200 * time.Millisecond
	// spacing is the least time between two such looks: with many VMs one costs some 0.3 s of CPU time.
	spacing = time.Second
)

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

	mu        sync.Mutex // guards what follows: one look at a time
	processes *processes
	runtime   *runtimeDir
	accounts  accounts
	listing   listing
	vouched   map[string]time.Time // when a better rung than argv last named a UUID; see evidence
	disputed  map[disputeKey]bool  // conflicts of the last look, already logged
}

// listing is what libvirt said last.
type listing struct {
	domains []Domain
	err     error     // of the last attempt
	since   time.Time // when err began
	lost    uint64    // failed attempts, cumulative
}

type disputeKey struct {
	Process
	uuid string
}

// New makes a Mapper that knows nothing yet: Current gives an empty Map until the first Refresh.
func New(config Config) *Mapper {
	m := &Mapper{
		config:    config,
		processes: newProcesses(config.Procfs),
		runtime:   &runtimeDir{path: config.Runtime},
		accounts:  accounts{path: "/etc/passwd"},
		vouched:   map[string]time.Time{},
		disputed:  map[disputeKey]bool{},
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

// Conflicts counts processes that claimed a UUID which is not theirs, since the start.
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
	var last time.Time // of the last announced change
	for {
		full := true
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			full = false
		case <-list.C:
		case <-changed:
			wait := time.NewTimer(max(settle, spacing-time.Since(last)))
			select {
			case <-ctx.Done():
				wait.Stop()
				return nil
			case <-wait.C:
			}
			last = time.Now()
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
	defer func() { m.faults.Store(m.processes.faults + m.runtime.faults + m.listing.lost) }()
	changed, err := m.processes.scan(ctx, full)
	if err == nil && changed && !full { // a new qemu is reason enough to look at everything
		full = true
		_, err = m.processes.scan(ctx, true)
	}
	if err != nil {
		m.processes.faults++
		return err
	}
	// Processes first, libvirt after them: so a listing that shows a domain as shut off is younger than the
	// sight of a process that claims to be it.
	if full {
		m.list(ctx)
	}
	files := m.runtime.read()
	m.accounts.refresh()
	vms, conflicts := merge(evidence{
		processes: m.processes.known,
		domains:   m.listing.domains,
		fresh:     m.config.Libvirt != nil && m.listing.err == nil,
		runtime:   files,
		system:    m.accounts.system,
		vouched:   m.vouched,
	})
	m.vouch(vms)
	m.dispute(conflicts)
	next := NewMap(vms, m.note(files.err))
	next.Complete = m.config.Libvirt == nil || m.listing.domains != nil
	if !next.equal(m.current.Load()) {
		m.current.Store(next)
	}
	return nil
}

// vouch remembers for a day which UUIDs are libvirt's.
func (m *Mapper) vouch(vms []VM) {
	now := time.Now()
	for _, vm := range vms {
		if vm.Source != FromArgv {
			m.vouched[vm.UUID] = now
		}
	}
	maps.DeleteFunc(m.vouched, func(_ string, last time.Time) bool { return now.Sub(last) > 24*time.Hour })
}

// list asks libvirt, and keeps the last answer where it does not give one.
func (m *Mapper) list(ctx context.Context) {
	if m.config.Libvirt == nil {
		return
	}
	domains, err := m.config.Libvirt.List(ctx)
	l := &m.listing
	switch {
	case err == nil:
		if l.err != nil {
			m.config.Log.Info("libvirt answers again", "domains", len(domains))
		}
		l.domains, l.err = domains, nil
	case ctx.Err() != nil && l.domains != nil: // our own end, not libvirt's
	default:
		l.lost++
		if l.err == nil {
			l.since = time.Now()
			m.config.Log.Warn("libvirt does not answer; metering goes on with what is known", "error", err)
		}
		l.err = err
	}
}

// dispute counts and logs each new conflict once.
func (m *Mapper) dispute(conflicts []conflict) {
	now := make(map[disputeKey]bool, len(conflicts))
	for _, c := range conflicts {
		key := disputeKey{c.Process, c.uuid}
		now[key] = true
		if !m.disputed[key] {
			m.conflicts.Add(1)
			m.config.Log.Warn("a process claims to be a virtual machine that it is not; it counts as an ordinary process",
				"pid", c.PID, "uuid", c.uuid, "why", c.why)
		}
	}
	m.disputed = now
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
	case l.domains != nil:
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
	if n := m.processes.hidden; n > 0 {
		parts = append(parts, fmt.Sprintf("%d processes are named like a qemu, but their executable cannot be seen (CAP_SYS_PTRACE)", n))
	}
	return strings.Join(parts, "; ")
}
