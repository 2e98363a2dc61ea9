package state

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/meter"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/rapl"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
)

// A modelDisk knows what a power cut leaves of a directory: of a file that was not synced, nothing, a part or all; of a
// name that was changed while the directory was not synced, the old or the new. At the call number stopAt it stands
// still, as a disk does when the power begins to fail.
type modelDisk struct {
	calls, stopAt int
	files         map[string]*modelFile   // as a program sees them
	names         []map[string]*modelFile // what a cut may leave the directory as; the last one is files
}

type modelFile struct {
	disk            *modelDisk
	content, synced []byte
	durable         bool // synced is what a cut leaves
	directory       bool
}

var errStopped = errors.New("the disk stands still")

func newModelDisk(stopAt int) *modelDisk {
	d := &modelDisk{stopAt: stopAt, files: map[string]*modelFile{}}
	d.names = []map[string]*modelFile{{}}
	return d
}

func (d *modelDisk) call() error {
	d.calls++
	if d.stopAt > 0 && d.calls >= d.stopAt {
		return errStopped
	}
	return nil
}

func (d *modelDisk) changed() {
	now := map[string]*modelFile{}
	for name, f := range d.files {
		now[name] = f
	}
	d.names = append(d.names, now)
}

func (d *modelDisk) create(path string) (diskFile, error) {
	if err := d.call(); err != nil {
		return nil, err
	}
	d.files[path] = &modelFile{disk: d}
	d.changed()
	return d.files[path], nil
}

func (d *modelDisk) rename(from, to string) error {
	if err := d.call(); err != nil {
		return err
	}
	f, ok := d.files[from]
	if !ok {
		return fs.ErrNotExist
	}
	delete(d.files, from)
	d.files[to] = f
	d.changed()
	return nil
}

func (d *modelDisk) openDir(string) (diskFile, error) {
	if err := d.call(); err != nil {
		return nil, err
	}
	return &modelFile{disk: d, directory: true}, nil
}

func (f *modelFile) Write(b []byte) (int, error) {
	if err := f.disk.call(); err != nil {
		f.content = append(f.content, b[:len(b)/2]...)
		return len(b) / 2, err
	}
	f.content = append(f.content, b...)
	return len(b), nil
}

func (f *modelFile) Sync() error {
	if err := f.disk.call(); err != nil {
		return err
	}
	if f.directory {
		f.disk.names = f.disk.names[len(f.disk.names)-1:]
	} else {
		f.synced, f.durable = bytes.Clone(f.content), true
	}
	return nil
}

func (f *modelFile) Close() error { return f.disk.call() }

// after returns every content that path may have after a cut; nil for a file that is not there.
func (d *modelDisk) after(path string) (contents [][]byte) {
	for _, names := range d.names {
		f := names[path]
		switch {
		case f == nil:
			contents = append(contents, nil)
		case f.durable && bytes.Equal(f.synced, f.content):
			contents = append(contents, f.synced)
		default:
			contents = append(contents, f.synced, f.content[:len(f.content)/2], f.content)
		}
	}
	return contents
}

// A life is a host with two VMs and a process, in steps of a second. It outlives the meters.
type life struct {
	counter energy.Microjoules
	cpu     [3]uint64 // ns
	second  int
	boot    string
}

func (l *life) pass() {
	l.second++
	l.counter += 40 * energy.Joule
	l.cpu[0] += uint64(300 * time.Millisecond)
	if l.second > 8 { // the second VM wakes up: what it uses was not foreseen
		l.cpu[1] += uint64(600 * time.Millisecond)
	}
	l.cpu[2] += uint64(100 * time.Millisecond)
}

func (l *life) Zones() []energy.Zone {
	return []energy.Zone{{Path: "intel-rapl:0", Name: "package-0", Die: -1, Range: 262143328850, Source: energy.SourcePowercap}}
}
func (l *life) Read(dst []energy.Reading) { dst[0] = energy.Reading{Energy: l.counter} }
func (l *life) Now() time.Time            { return time.Unix(1_800_000_000+int64(l.second), 0) }
func (l *life) Boot() time.Duration       { return time.Hour + time.Duration(l.second)*time.Second }
func (l *life) Asleep() time.Duration     { return 0 }
func (l *life) Faults() uint64            { return 0 }
func (l *life) Conflicts() uint64         { return 0 }

// lifeCPU is what one meter sees of the processes; it may have to know more of a clock than lifeClock does.
type lifeCPU struct {
	*life
	base  [3]uint64
	known bool
}

func (c *lifeCPU) Name() string { return "test" }
func (c *lifeCPU) Restore(b cputime.Baseline) {
	for _, r := range b.Processes {
		c.base[r.PID-1] = r.Total
	}
	c.known = true
}

func (c *lifeCPU) Baseline() cputime.Baseline {
	b := cputime.Baseline{BootID: c.boot, Busy: []uint64{0}, Idle: []uint64{0}}
	for i, ns := range c.base {
		b.Processes = append(b.Processes, cputime.Reading{ID: proc.ID{PID: int32(i + 1), Start: 1}, Total: ns})
	}
	return b
}

func (c *lifeCPU) Sample(s *cputime.Sample) error {
	s.Reset(1)
	for i, ns := range c.cpu {
		p := s.Append(1)
		p.PID, p.Start, p.Comm, p.Total = int32(i+1), 1, "process", ns
		if c.known {
			p.Delta[0] = ns - c.base[i]
			s.Busy[0] += p.Delta[0]
		}
	}
	s.Capacity[0] = uint64(4 * time.Second)
	c.base, c.known = c.cpu, true
	return nil
}

type lifeVMs struct {
	*life
	current *vmmap.Map
}

func (v lifeVMs) Current() *vmmap.Map              { return v.current }
func (v lifeVMs) Restore([]vmmap.VM, []vmmap.Past) {}
func (v lifeVMs) Notice([]proc.ID)                 {}

func newLifeVMs(l *life) lifeVMs {
	var vms []vmmap.VM
	for i := range 2 {
		vms = append(vms, vmmap.VM{
			UUID: fmt.Sprintf("aaaaaaaa-0000-0000-0000-00000000000%d", i), Name: fmt.Sprint("vm-", i), VCPUs: 1,
			State: vmmap.Running, Source: vmmap.FromLibvirt, Process: proc.ID{PID: int32(i + 1), Start: 1},
		})
	}
	return lifeVMs{l, vmmap.NewMap(vms, "")}
}

// meterOn makes a meter whose state of each tick goes to tick, and the one on disk through s.
func (l *life) meterOn(t *testing.T, s *syncStore, states ...[]byte) *meter.Meter {
	t.Helper()
	m, err := meter.New(meter.Options{
		Sensor: l, CPU: &lifeCPU{life: l}, VMs: newLifeVMs(l), CPUs: 4,
		DomainOf: func(energy.Zone) int { return 0 }, MaxPower: rapl.MaxPower,
		Interval: time.Second, ScrapeInterval: 2 * time.Second, Idle: ledger.Shared, Listed: 5, BootID: l.boot,
		State: s, Ahead: s, Clock: l, Log: slog.New(slog.DiscardHandler),
	}, states...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A syncStore writes as a Store does, in the same order of the same calls, but not beside the caller.
type syncStore struct {
	disk    disk
	path    string
	tick    []byte
	results chan error
}

func newSyncStore(d disk) *syncStore {
	return &syncStore{disk: d, path: filepath.Join("lib", fileName), results: make(chan error, 1)}
}

func (s *syncStore) Save(b []byte) error {
	s.tick = bytes.Clone(b)
	return nil
}

func (s *syncStore) Reserve(b []byte) {
	err := replaceDurably(s.disk, s.path, b)
	if !errors.Is(err, errStopped) { // else there is no answer
		s.results <- err
	}
}

func (s *syncStore) Reserved() <-chan error { return s.results }

// shown is what anybody may read of a Snapshot, in µJ and ns.
func shown(s *snapshot.Snapshot) map[string]uint64 {
	values := map[string]uint64{}
	for _, z := range s.Zones {
		values["zone "+z.Path] = uint64(z.Total)
	}
	for i := range s.VMs {
		vm := &s.VMs[i]
		for k := range vm.Energy {
			for p, e := range vm.Energy[k] {
				values[fmt.Sprint("vm ", vm.Name, k, p)] = uint64(e)
			}
		}
		values["cpu "+vm.Name] = uint64(vm.CPU)
	}
	for _, p := range s.Series {
		values[fmt.Sprint("process ", p.PID)] = uint64(p.Energy)
	}
	for _, u := range s.Unattributed {
		values["unattributed "+u.Reason] += uint64(u.Energy)
	}
	for k := range s.Rest {
		values[fmt.Sprint("rest ", k)] = uint64(s.Rest.Of(energy.Kind(k)))
	}
	return values
}

// TestPowerCut cuts the power between any two system calls that write the state, and lets the meter tick on while the
// disk stands still, for less than it would take to give the disk up. Whatever the cut leaves, no counter that anybody has
// read falls, and the books balance.
func TestPowerCut(t *testing.T) {
	const ticks, after = 90, 5
	first, calls := countCalls(t, ticks)
	cuts, withheld := 0, 0
	for stopAt := first; stopAt <= calls; stopAt++ {
		d := newModelDisk(stopAt)
		l := &life{boot: "first"}
		s := newSyncStore(d)
		m := l.meterOn(t, s)
		read := map[string]uint64{}
		var last *snapshot.Snapshot
		for still := 0; l.second < ticks && still < after; {
			l.pass()
			m.Tick()
			if s := m.Latest(); s != last {
				last = s
				for name, v := range shown(s) {
					read[name] = max(read[name], v)
				}
			} else {
				withheld++
			}
			if d.calls >= stopAt {
				still++
			}
		}
		for i, content := range d.after(filepath.Join("lib", fileName)) {
			cuts++
			next := *l
			next.boot, next.counter, next.cpu = "second", 5, [3]uint64{}
			after := newSyncStore(newModelDisk(0))
			m := next.meterOn(t, after, nil, content)
			next.pass()
			m.Tick()
			hold(t, fmt.Sprintf("cut at call %d, second %d, remains %d", stopAt, l.second, i), m.Latest(), read)
		}
		// Killed at the same moment, the state of the tick is there.
		for i, content := range append(d.after(filepath.Join("lib", fileName)), nil) {
			next := *l
			m := next.meterOn(t, newSyncStore(newModelDisk(0)), s.tick, content)
			next.pass()
			m.Tick()
			hold(t, fmt.Sprintf("killed at call %d, remains %d", stopAt, i), m.Latest(), read)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d system calls, %d states that a cut may leave; %d ticks were not shown", calls, cuts, withheld)
	if calls < 15 || withheld == 0 {
		t.Error("the run shows nothing")
	}
}

// countCalls returns how many system calls a run without a cut makes, and the first of them after the first tick,
// which waits for the disk: before it, nobody has read anything.
func countCalls(t *testing.T, ticks int) (first, all int) {
	t.Helper()
	d := newModelDisk(0)
	l := &life{boot: "first"}
	m := l.meterOn(t, newSyncStore(d))
	for range ticks {
		l.pass()
		m.Tick()
		if first == 0 {
			first = d.calls + 1
		}
	}
	return first, d.calls
}

func hold(t *testing.T, what string, s *snapshot.Snapshot, read map[string]uint64) {
	t.Helper()
	now := shown(s)
	for name, v := range read {
		if now[name] < v {
			t.Errorf("%s: %s fell from %d to %d", what, name, v, now[name])
		}
	}
	if s.LedgerError != 0 {
		t.Errorf("%s: ledger error %d", what, s.LedgerError)
	}
}

// A writer that does not sync the file, or the directory, or writes in place, is found out by TestPowerCut's disk.
func TestModelDisk(t *testing.T) {
	d := newModelDisk(0)
	if err := replaceDurably(d, "lib/state", []byte("one")); err != nil {
		t.Fatal(err)
	}
	if got := d.after("lib/state"); len(got) != 1 || string(got[0]) != "one" {
		t.Fatalf("after a whole replacement: %q", got)
	}
	f, _ := d.create("lib/state.new")
	_, _ = f.Write([]byte("second"))
	_ = d.rename("lib/state.new", "lib/state")
	got := d.after("lib/state")
	texts := make([]string, len(got))
	for i, b := range got {
		texts[i] = string(b)
	}
	slices.Sort(texts)
	if all := strings.Join(slices.Compact(texts), ","); all != ",one,sec,second" {
		t.Errorf("after a rename without a sync: %s", all)
	}
}
