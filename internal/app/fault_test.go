package app

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/test/rights"
)

// A faultyMachine is a sysfs and a procfs, served by FUSE so that every read(2) can be made to fail.
type faultyMachine struct {
	mu       sync.Mutex // guards what follows
	random   *rand.Rand
	rate     float64 // of reads that fail
	injected map[string]int
	tick     uint64
}

const (
	zonePower  = 30_000_000 // µJ a tick
	faultyPIDs = 20
	jiffies    = 2 // of CPU time per process and tick
)

// A faultyFile's content is made at each read; direct I/O, so that no read is answered by a cache.
type faultyFile struct {
	fs.Inode
	machine *faultyMachine
	class   string // what a fault in it is counted as
	content func(tick uint64) string
}

func (f *faultyFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o444, 4096
	return 0
}

func (f *faultyFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (f *faultyFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	m := f.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	text := f.content(m.tick)
	if off == 0 && m.random.Float64() < m.rate {
		m.injected[f.class]++
		switch m.random.IntN(6) {
		case 0:
			return nil, syscall.EIO
		case 1:
			return nil, syscall.ENOENT
		case 2:
			return nil, syscall.EACCES
		case 3:
			text = ""
		case 4:
			text = "\x00garbage (((\n"
		case 5:
			text = text[:len(text)/2]
		}
	}
	text = text[min(int64(len(text)), off):]
	return fuse.ReadResultData([]byte(text[:min(len(text), len(dest))])), 0
}

// root builds the two trees.
func (m *faultyMachine) root() fs.InodeEmbedder {
	files := map[string]*faultyFile{
		"proc/stat":                      {class: "stat", content: m.stat},
		"proc/sys/kernel/random/boot_id": {class: "other", content: func(uint64) string { return "a-boot\n" }},
	}
	for zone, name := range map[string]string{"intel-rapl:0": "package-0", "intel-rapl:0:0": "dram"} {
		dir := "sys/class/powercap/" + zone
		files[dir+"/name"] = &faultyFile{class: "other", content: func(uint64) string { return name + "\n" }}
		files[dir+"/max_energy_range_uj"] = &faultyFile{class: "other", content: func(uint64) string { return "262143328850\n" }}
		files[dir+"/energy_uj"] = &faultyFile{class: "energy", content: func(tick uint64) string {
			return fmt.Sprintf("%d\n", 262_000_000_000+tick*zonePower%262143328850)
		}}
	}
	for pid := 1; pid <= faultyPIDs; pid++ {
		files[fmt.Sprintf("proc/%d/stat", pid)] = &faultyFile{class: "process", content: func(tick uint64) string {
			return fmt.Sprintf("%d (worker (%d)) S 1 1 1 0 -1 4194560 1 2 3 4 %d 0 0 0 20 0 1 0 %d 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 %d 0 0 0 0 0 0\n",
				pid, pid, tick*jiffies, 1000+pid, 0)
		}}
	}
	for _, f := range files {
		f.machine = m
	}
	return &faultyRoot{files: files}
}

type faultyRoot struct {
	fs.Inode
	files map[string]*faultyFile
}

func (r *faultyRoot) OnAdd(ctx context.Context) {
	for path, f := range r.files {
		parent := &r.Inode
		parts := strings.Split(path, "/")
		for _, name := range parts[:len(parts)-1] {
			child := parent.GetChild(name)
			if child == nil {
				child = parent.NewPersistentInode(ctx, &fs.Inode{}, fs.StableAttr{Mode: syscall.S_IFDIR})
				parent.AddChild(name, child, false)
			}
			parent = child
		}
		parent.AddChild(parts[len(parts)-1], parent.NewPersistentInode(ctx, f, fs.StableAttr{}), false)
	}
}

func (m *faultyMachine) stat(tick uint64) string {
	busy := tick * jiffies * faultyPIDs
	line := fmt.Sprintf(" %d 0 0 %d 0 0 0 0 0 0\n", busy, tick*60)
	return "cpu " + line + "cpu0" + line + "intr 1\nctxt 2\n"
}

func (m *faultyMachine) set(rate float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rate = rate
}

func (m *faultyMachine) advance() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tick++
}

// One bad input is one counted error, never an outage: with every read of sysfs and procfs failing one time in five,
// in six ways, for a thousand ticks, nothing stops, nothing is lost, and each fault is counted.
func TestFaults(t *testing.T) {
	rights.Require(t, rights.FUSE)
	m := &faultyMachine{random: rand.New(rand.NewPCG(1, 2)), injected: map[string]int{}}
	dir := t.TempDir()
	server, err := fs.Mount(dir, m.root(), &fs.Options{MountOptions: fuse.MountOptions{DirectMount: true, FsName: "faults"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	}()
	c := config.Default()
	c.Host = config.HostFS{Sysfs: filepath.Join(dir, "sys"), Procfs: filepath.Join(dir, "proc")}
	c.CPUTime.Source = "procfs"
	a, err := New(c, slog.New(slog.DiscardHandler), Options{Program: config.Host})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	// All readings are at tick 1, so that none is 0: such a one looks like a CPU that was never read.
	m.advance()
	a.Meter.Tick()
	m.set(0.2)
	before := map[string]energy.Microjoules{}
	const ticks = 1000
	for range ticks {
		m.advance()
		a.Meter.Tick()
		hold(t, a.Meter.Latest(), before)
	}
	m.set(0)
	m.advance()
	a.Meter.Tick()
	s := a.Meter.Latest()
	hold(t, s, before)

	for _, z := range s.Zones {
		if want := energy.Microjoules((ticks + 1) * zonePower); z.Total != want {
			t.Errorf("%s: %v counted, %v given", z.Name, z.Total, want)
		}
	}
	counted := map[string]uint64{}
	for _, e := range s.Errors {
		counted[e.Component] = e.Count
	}
	t.Logf("injected %v, counted %v", m.injected, counted)
	// A zone that is opened again has its name read again, too.
	if got, want := counted["sensor"], uint64(m.injected["energy"]+m.injected["other"]); got != want {
		t.Errorf("%d faults of the sensor counted, %d injected", got, want)
	}
	// A sixth of the others say ENOENT, which is how a process says that it ended; a process that may not be read is counted
	// once; and half a line of /proc/stat is read on.
	if got, injected := counted["cputime"], m.injected["process"]+m.injected["stat"]; got < uint64(injected)*2/3 || got > uint64(injected) {
		t.Errorf("%d faults of CPU time counted, %d injected", got, injected)
	}
	if m.injected["energy"] < 300 || m.injected["process"] < 3000 {
		t.Errorf("too few faults injected: %v", m.injected)
	}
}

// hold holds a Snapshot to the identity and its counters to what they were.
func hold(t *testing.T, s *snapshot.Snapshot, before map[string]energy.Microjoules) {
	t.Helper()
	if s.LedgerError != 0 {
		t.Fatalf("tick %d: ledger error %d µJ", s.Seq, s.LedgerError)
	}
	now := map[string]energy.Microjoules{"host": s.Host.Energy, "rest": s.Rest.Of(energy.Package) + s.Rest.Of(energy.DRAM)}
	sum := now["rest"]
	for _, p := range s.Series {
		sum += p.Energy
		now[fmt.Sprint("process ", p.PID, p.Comm)] = p.Energy
	}
	sum += s.Retired.Processes.Of(energy.Package) + s.Retired.Processes.Of(energy.DRAM)
	for _, u := range s.Unattributed {
		sum += u.Energy
		now[u.Reason+u.Kind.String()] = u.Energy
	}
	if sum != s.Host.Energy {
		t.Fatalf("tick %d: accounts hold %d µJ, zones gave %d", s.Seq, sum, s.Host.Energy)
	}
	for name, value := range now {
		if value < before[name] {
			t.Fatalf("tick %d: %s fell from %d to %d µJ", s.Seq, name, before[name], value)
		}
		before[name] = value
	}
}
