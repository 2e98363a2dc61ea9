package bpf

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"

	"github.com/scaph/scaph/test/rights"
)

// startWalking makes a source that walks. This machine's kernel must be able to: else nothing here would be tested.
func startWalking(t testing.TB) *Source {
	t.Helper()
	p := start(t)
	if p.probes.noWalk != nil {
		t.Fatalf("these tests need Linux 6.7: %v", p.probes.noWalk)
	}
	return p
}

// startWalk makes a walk by itself.
func startWalk(t *testing.T, first, most int) *walk {
	t.Helper()
	rights.Require(t, rights.Root)
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	l, err := readLayout(kernel)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWalk(kernel, l, first, most)
	if err != nil {
		t.Fatalf("these tests need Linux 6.7: %v", err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// byAddress copies records.
func byAddress(listed []byte) map[uint64]string {
	records := make(map[uint64]string, len(listed)/recordSize)
	for r := range eachRecord(listed) {
		records[r.u64(atAddress)] = string(r)
	}
	return records
}

// TestBothWaysAgree reads the same tasks in both ways. What two walks tell alike before and after cannot have changed
// in between, and the iterator must tell it too, to the last byte; and whoever it tells of that was there
// before and after must be in the walks.
func TestBothWaysAgree(t *testing.T) {
	for range 20 { // processes with a past
		c := startChild(t, "threads 1ms")
		c.ask()
		t.Cleanup(func() { c.end() })
	}
	p := startWalking(t)
	list := func(read func() ([]byte, error)) map[uint64]string {
		t.Helper()
		records, err := read()
		if err != nil {
			t.Fatal(err)
		}
		return byAddress(records)
	}
	firstFile := list(p.iterate)
	firstWalk := list(p.probes.walk.records)
	file := list(p.iterate)
	walk := list(p.probes.walk.records)
	lastFile := list(p.iterate)
	same := 0
	var total uint64
	for address, r := range firstWalk {
		if walk[address] != r {
			continue
		}
		same++
		total += record(r).u64(atRuntime)
		if file[address] != r {
			t.Errorf("walk: %x\nfile: %x", r, file[address])
		}
	}
	for address, r := range firstFile {
		last, listed := lastFile[address]
		if !listed || record(last).u64(atStart) != record(r).u64(atStart) {
			continue // it ended, and its memory may be another's
		}
		if _, met := walk[address]; !met {
			t.Errorf("thread %d of process %d (%s) is in the file only", record(r).u32(atPID), record(r).u32(atTGID), record(r).comm())
		}
	}
	if same < 50 {
		t.Errorf("%d of %d tasks were the same before and after: too few to compare", same, len(walk))
	}
	t.Logf("%d of %d tasks compared, %d ns in sum", same, len(walk), total)
}

func TestWalkGrows(t *testing.T) {
	const most = 1 << 16
	w := startWalk(t, 3, most)
	records, err := w.records()
	if err != nil {
		t.Fatal(err)
	}
	met := byAddress(records)
	if len(met)*recordSize != len(records) || len(met) <= 3 || w.room < len(met) || w.room > 2*len(met)+6 {
		t.Errorf("%d tasks in %d bytes, room for %d", len(met), len(records), w.room)
	}
	self := false
	for r := range eachRecord(records) {
		self = self || int(r.u32(atTGID)) == os.Getpid() && r.leads()
	}
	if !self {
		t.Error("this process is missing")
	}
}

func TestLargestWalk(t *testing.T) {
	w := startWalk(t, mostRoom, mostRoom)
	if records, err := w.records(); err != nil || len(records) == 0 {
		t.Errorf("%d bytes, %v", len(records), err)
	}
}

func TestWalkStopsAtItsBound(t *testing.T) {
	w := startWalk(t, 3, 10)
	for range 2 {
		if _, err := w.records(); !errors.Is(err, errCrowd) {
			t.Fatalf("more than 10 tasks gave %v", err)
		}
	}
	if n, err := w.program.Run(nil); err != nil || n != 11 {
		t.Errorf("the program went on to %d, %v", n, err)
	}
}

// byPID finds a process that is known.
func (p *Source) byPID(pid int) *process {
	return p.processes[slices.IndexFunc(p.processes, func(q *process) bool { return q.id.PID == int32(pid) })]
}

func TestCrowdIsLeftToTheIterator(t *testing.T) {
	p := startWalking(t)
	w := p.probes.walk
	if look(t, p); p.Note() != "" {
		t.Fatal(p.Note())
	}
	w.room, w.most = 2, 2
	if err := errors.Join(w.close(), w.load()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first finds out, the second knows
		look(t, p)
		if p.byPID(os.Getpid()).seen != p.looks {
			t.Error("this process is missing")
		}
		if !strings.Contains(p.Note(), errCrowd.Error()) {
			t.Errorf("note %q", p.Note())
		}
	}
	w.most = mostRoom // as if the others had ended
	if look(t, p); p.byPID(os.Getpid()).seen != p.looks || p.Note() != "" || w.room <= 2 {
		t.Errorf("it did not go back to the walk: note %q, room for %d", p.Note(), w.room)
	}
}

// TestBrokenWalkIsLeftToTheIterator takes the program away, and expects that no time is lost and none charged twice.
func TestBrokenWalkIsLeftToTheIterator(t *testing.T) {
	p := startWalking(t)
	look(t, p)
	c := startChild(t, "command 100ms")
	pid := c.cmd.Process.Pid
	c.ask()
	first := find(look(t, p), pid).Delta[0]
	if err := p.probes.walk.program.Close(); err != nil {
		t.Fatal(err)
	}
	clock := c.ask()
	q := find(look(t, p), pid)
	if charged := first + q.Delta[0]; q.Total != charged || !within(time.Duration(charged), clock, 0.02) {
		t.Errorf("charged %d ns, total %d ns, its clock says %v", charged, q.Total, clock)
	}
	if p.probes.walk != nil || p.Note() == "" {
		t.Errorf("note %q", p.Note())
	}
	t.Log(p.Note())
	c.end()
}

func TestKernelWithoutWalk(t *testing.T) {
	builder, err := btf.NewBuilder([]btf.Type{&btf.Int{Name: "int", Size: 4}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := builder.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := btf.LoadSpecFromReader(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	if w, err := newWalk(kernel, layout{}, 1, 1); w != nil || !errors.Is(err, errNoWalk) {
		t.Errorf("%v, %v", w, err)
	}
}

// BenchmarkList sets the two ways beside each other.
func BenchmarkList(b *testing.B) {
	p := startWalking(b)
	for name, list := range map[string]func() ([]byte, error){"walk": p.probes.walk.records, "file": p.iterate} {
		b.Run(name, func(b *testing.B) {
			var listed []byte
			var err error
			for b.Loop() {
				if listed, err = list(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(listed)/recordSize), "ns/task")
		})
	}
}
