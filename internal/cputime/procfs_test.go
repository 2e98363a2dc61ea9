package cputime

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/proc"
)

func TestEachThreadPaysWhereItRan(t *testing.T) {
	tr := newTree(t)
	tr.socket(0, 0, 0)
	tr.socket(1, 1, 0)
	d := tr.domains(Zone{0, -1}, Zone{1, -1}, Zone{0, -1}) // a package zone and its dram twin
	if d.Len() != 2 {
		t.Fatalf("%d domains", d.Len())
	}
	tr.cpus([2]int{0, 0}, [2]int{0, 0})
	pinned := task{pid: 100, comm: "pinned", start: 5, cpu: 1, ticks: 10}
	both := task{pid: 200, comm: "both", start: 6, cpu: 0, ticks: 40, threads: 3}
	leader := task{pid: 200, comm: "both", start: 6, cpu: 0, ticks: 20}
	second := task{pid: 201, comm: "both", start: 6, cpu: 1, ticks: 20}
	third := task{pid: 202, comm: "both", start: 7, cpu: 1, ticks: 0}
	write := func() {
		tr.process(pinned)
		tr.process(both)
		tr.thread(200, leader)
		tr.thread(200, second)
		tr.thread(200, third)
	}
	write()
	p := tr.source(d)
	for _, q := range sample(t, p).Processes {
		t.Errorf("first sample charges %d for %v", q.PID, q.Delta)
	}

	pinned.ticks += 50
	both.ticks += 40 // 7 of which a thread used that has ended
	leader.ticks += 11
	second.ticks += 22
	write()
	tr.cpus([2]int{20, 80}, [2]int{90, 10})
	s := sample(t, p)
	if q := find(t, s, 100, false); q.Delta[0] != 0 || q.Delta[1] != 50*proc.ClockTick {
		t.Errorf("pinned to socket 1 pays %v", q.Delta)
	}
	q := find(t, s, 200, false) // the first split goes by the threads' whole lives: 31 to 42
	if q.Delta[0]+q.Delta[1] != 40*proc.ClockTick || q.Delta[0] != uint64(40*proc.ClockTick)*31/73 {
		t.Errorf("threads on both sockets pay %v", q.Delta)
	}
	if s.Busy[0] != 20*proc.ClockTick || s.Busy[1] != 90*proc.ClockTick || s.Capacity[0] != 100*proc.ClockTick || s.Capacity[1] != 100*proc.ClockTick {
		t.Errorf("busy %v of %v", s.Busy, s.Capacity)
	}
	for i, busy := range s.Busy {
		var explained uint64
		for _, q := range s.Processes {
			explained += q.Delta[i]
		}
		if explained+s.Unseen[i] != busy {
			t.Errorf("domain %d: %d ns of processes and %d unseen, but busy %d", i, explained, s.Unseen[i], busy)
		}
	}

	both.ticks += 30
	leader.ticks += 10
	third.ticks += 20
	write()
	if q := find(t, sample(t, p), 200, false); q.Delta[0] != 10*proc.ClockTick || q.Delta[1] != 20*proc.ClockTick {
		t.Errorf("threads pay %v", q.Delta)
	}
}

func TestApportionLosesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		weights := make([]uint64, 1+random.IntN(5))
		var sum uint64
		for i := range weights {
			weights[i] = random.Uint64() >> (3 + random.IntN(61))
			sum += weights[i]
		}
		whole := random.Uint64() >> random.IntN(64)
		if !Apportion(weights, sum, whole) {
			if sum != 0 {
				t.Fatal("refused", weights)
			}
			continue
		}
		var got uint64
		for _, part := range weights {
			got += part
		}
		if got != whole {
			t.Fatalf("parts %v sum up to %d, not %d", weights, got, whole)
		}
	}
}

func TestNewProcessesAreChargedTheirPast(t *testing.T) {
	tr := newTree(t)
	tr.process(task{pid: 10, comm: "old", start: 1000, ticks: 500})
	p := tr.source(tr.domains())
	sample(t, p)
	tr.process(task{pid: 5, comm: "new", start: 1000, ticks: 30}) // pids wrap around
	tr.process(task{pid: 11, comm: "hidden before", start: 999, ticks: 70})
	s := sample(t, p)
	if q := find(t, s, 5, false); q.Delta[0] != 30*proc.ClockTick || q.Total != 30*proc.ClockTick {
		t.Errorf("new process: %+v", q)
	}
	if q := find(t, s, 11, false); q != nil || totalOf(p, 11) != 70*proc.ClockTick {
		t.Errorf("older process seen late: %+v, total %d", q, totalOf(p, 11))
	}
}

func TestReusedPID(t *testing.T) {
	tr := newTree(t)
	tr.process(task{pid: 10, comm: "first", start: 1000, ticks: 500})
	p := tr.source(tr.domains())
	sample(t, p)
	tr.process(task{pid: 10, comm: "second", start: 2000, ticks: 3})
	s := sample(t, p)
	if q := find(t, s, 10, true); q == nil || q.Start != 1000 || q.Comm != "first" || q.Delta[0] != 0 {
		t.Errorf("the former process: %+v", q)
	}
	if q := find(t, s, 10, false); q == nil || q.Start != 2000 || q.Comm != "second" || q.Delta[0] != 3*proc.ClockTick {
		t.Errorf("the present process: %+v", q)
	}
	if b := p.Baseline(); len(b.Processes) != 1 || b.Processes[0] != (Reading{proc.ID{PID: 10, Start: 2000}, 3 * proc.ClockTick}) {
		t.Errorf("baseline %v", b.Processes)
	}
}

func TestExitIsToldOnce(t *testing.T) {
	tr := newTree(t)
	tr.process(task{pid: 10, comm: "a", start: 1, ticks: 5})
	tr.process(task{pid: 20, comm: "b", start: 1, ticks: 5})
	p := tr.source(tr.domains())
	sample(t, p)
	tr.remove(10)
	if s := sample(t, p); find(t, s, 10, true) == nil || find(t, s, 10, false) != nil || s.Faults != 0 {
		t.Errorf("%+v", s)
	}
	if s := sample(t, p); len(s.Processes) != 0 {
		t.Errorf("%+v", s)
	}
	if p.open != 1 || len(p.Baseline().Processes) != 1 {
		t.Errorf("%d descriptors, baseline %v", p.open, p.Baseline().Processes)
	}
}

func TestRestoreIsALongTick(t *testing.T) {
	tr := newTree(t)
	tr.process(task{pid: 10, comm: "a", start: 100, ticks: 5})
	tr.process(task{pid: 20, comm: "ends in the gap", start: 101, ticks: 5})
	tr.cpus([2]int{100, 100})
	first := tr.source(tr.domains())
	sample(t, first)
	b := first.Baseline()

	tr.process(task{pid: 10, comm: "a", start: 100, ticks: 25})
	tr.process(task{pid: 30, comm: "began in the gap", start: 200, ticks: 7})
	tr.remove(20)
	tr.cpus([2]int{140, 160})
	p := tr.source(tr.domains())
	p.Restore(b)
	s := sample(t, p)
	if q := find(t, s, 10, false); q.Delta[0] != 20*proc.ClockTick {
		t.Errorf("%+v", q)
	}
	if q := find(t, s, 30, false); q.Delta[0] != 7*proc.ClockTick {
		t.Errorf("%+v", q)
	}
	if s.Busy[0] != 40*proc.ClockTick || s.Capacity[0] != 100*proc.ClockTick || s.Unseen[0] != 13*proc.ClockTick {
		t.Errorf("busy %v of %v, unseen %v", s.Busy, s.Capacity, s.Unseen)
	}
	if len(p.Baseline().Processes) != 2 {
		t.Errorf("baseline %v", p.Baseline().Processes)
	}

	b.BootID = "another"
	p = tr.source(tr.domains())
	p.Restore(b)
	if s := sample(t, p); s.Busy[0] != 0 || find(t, s, 10, false) != nil {
		t.Errorf("baseline of another boot was used: %+v", s)
	}
}

func TestVhostThreadHasItsOwner(t *testing.T) {
	tr := newTree(t)
	tr.process(task{pid: 1, comm: "init"})
	p := tr.source(tr.domains())
	sample(t, p)
	for i, comm := range []string{"vhost-4711", "vhost-4711", "kworker/0:1H-kblockd"} { // the second is a user's joke
		tr.process(task{pid: 10 + i, comm: comm, start: 1, kernel: i != 1, ticks: 1})
	}
	s := sample(t, p)
	if q := find(t, s, 10, false); !q.Kernel || q.Owner != 4711 {
		t.Errorf("%+v", q)
	}
	if q := find(t, s, 11, false); q.Kernel || q.Owner != 0 {
		t.Errorf("%+v", q)
	}
	if q := find(t, s, 12, false); q.Comm != "kworker/0:1H" {
		t.Errorf("%+v", q)
	}
	for comm, want := range map[string]int32{
		"vhost-": 0, "vhost-1": 1, "vhost-2147483647": 0, "vhost-99999999999999": 0, "vhost-1x": 0, "xvhost-1": 0, "": 0,
	} {
		if got := proc.Owner(comm); got != want {
			t.Errorf("Owner(%q) = %d", comm, got)
		}
	}
}

// TestFaultsLoseNothing makes one call in five fail. No look fails, and once the faults are over
// each process has been charged exactly what it used.
func TestFaultsLoseNothing(t *testing.T) {
	tr := newTree(t)
	tr.socket(0, 0, 0)
	tr.socket(1, 1, 0)
	random := rand.New(rand.NewPCG(3, 4))
	tasks := make([]task, 6)
	for i := range tasks {
		tasks[i] = task{pid: 100 + i, comm: "t", start: 50 + i, ticks: random.IntN(100), cpu: i % 2, threads: 1 + i%3}
	}
	var cpus [2][2]int
	write := func() {
		for _, k := range tasks {
			tr.process(k)
			for tid := range k.threads {
				thread := k
				thread.pid, thread.ticks, thread.cpu = k.pid+1000*tid, k.ticks/k.threads, tid%2
				tr.thread(k.pid, thread)
			}
		}
		tr.cpus(cpus[0], cpus[1])
	}
	write()
	f := &faulty{random: random}
	p := openSource(t, f, tr.proc, tr.domains(Zone{0, -1}, Zone{1, -1}))
	s := sample(t, p)
	var began, used [6]uint64
	var busy uint64
	for i := range tasks {
		began[i] = totalOf(p, tasks[i].pid)
	}
	faults := 0
	for round := range 1000 {
		f.rate = 0.2
		if round == 999 {
			f.rate = 0
		}
		for i := range tasks {
			if tasks[i].ticks += random.IntN(5); random.IntN(4) == 0 {
				cpus[i%2][0] += random.IntN(5)
			}
			cpus[i%2][1]++
		}
		write()
		if err := p.Sample(s); err != nil {
			t.Fatalf("sample %d: %v", round, err)
		}
		faults += s.Faults
		if known := len(p.Baseline().Processes); known != len(tasks) {
			t.Fatalf("after sample %d, %d processes are known", round, known)
		}
		for _, q := range s.Processes {
			if q.Exited {
				t.Fatalf("sample %d: %d did not end", round, q.PID)
			}
			used[int(q.PID)-tasks[0].pid] += q.Delta[0] + q.Delta[1]
		}
		busy += s.Busy[0] + s.Busy[1]
	}
	for i := range tasks {
		if want := uint64(tasks[i].ticks)*proc.ClockTick - began[i]; used[i] != want {
			t.Errorf("process %d was charged %d ns, and used %d", tasks[i].pid, used[i], want)
		}
	}
	if want := uint64(cpus[0][0]+cpus[1][0]) * proc.ClockTick; busy != want {
		t.Errorf("busy %d, and not %d", busy, want)
	}
	// ENOENT is what a thread says that ended, and /proc/stat cut short is read on: no faults.
	if faults < f.raised*8/10 {
		t.Errorf("%d faults raised in reads and lists, %d counted", f.raised, faults)
	}
	t.Logf("%d faults raised in reads and lists, %d counted", f.raised, faults)
}

// scripted fails chosen calls.
type scripted struct {
	proc.Kernel
	openFails, readFails error
}

func (f *scripted) Open(dir int, path []byte) (int, error) {
	if f.openFails != nil {
		return -1, f.openFails
	}
	return f.Kernel.Open(dir, path)
}

func (f *scripted) Read(fd int, b []byte, offset int64) (int, error) {
	if f.readFails != nil {
		return 0, f.readFails
	}
	return f.Kernel.Read(fd, b, offset)
}

func TestVanishesWhileItIsRead(t *testing.T) {
	tr := newTree(t)
	k := task{pid: 10, comm: "a", start: 1, ticks: 5}
	tr.process(k)
	f := new(scripted)
	p := openSource(t, f, tr.proc, tr.domains())
	sample(t, p)

	f.readFails, f.openFails = unix.ESRCH, unix.ENOENT // listed, and gone when it is read
	s := sample(t, p)
	if len(s.Processes) != 0 || totalOf(p, 10) != 5*proc.ClockTick || s.Faults != 1 { // the fault is /proc/stat's
		t.Errorf("%+v", s)
	}
	if p.open != 0 {
		t.Error("the dead descriptor is kept")
	}
	f.readFails, f.openFails = nil, nil // it had not gone
	k.ticks = 9
	tr.process(k)
	s = sample(t, p)
	if q := find(t, s, 10, false); q == nil || q.Delta[0] != 4*proc.ClockTick || s.Faults != 1 {
		t.Errorf("%+v", s)
	}
	f.readFails, f.openFails = unix.ESRCH, unix.ENOENT
	sample(t, p)
	tr.remove(10)
	tr.process(task{pid: 11, comm: "b", start: 1})
	if s = sample(t, p); find(t, s, 10, true) == nil {
		t.Errorf("%+v", s)
	}
}

func TestRestOfTheProgramTookAllDescriptors(t *testing.T) {
	tr := newTree(t)
	for i := range 16 {
		tr.process(task{pid: 10 + i, comm: "t", start: i, ticks: 1})
	}
	f := new(scripted)
	p := openSource(t, f, tr.proc, tr.domains())
	sample(t, p)
	tr.process(task{pid: 50, comm: "new", start: 60, ticks: 7})
	f.openFails = unix.EMFILE
	if s := sample(t, p); s.Faults != 1 || p.open != 14 || len(p.Baseline().Processes) != 16 {
		t.Errorf("%d faults, %d descriptors, %d processes", s.Faults, p.open, len(p.Baseline().Processes))
	}
	f.openFails = nil
	if s := sample(t, p); s.Faults != 0 || find(t, s, 50, false).Delta[0] != 7*proc.ClockTick {
		t.Errorf("%+v", s)
	}
}

func TestHiddenProcessesAreOneFaultEach(t *testing.T) {
	tr := newTree(t)
	tr.process(task{pid: 10, comm: "hidden", start: 1, ticks: 5})
	f := new(scripted)
	p := openSource(t, f, tr.proc, tr.domains())
	f.openFails = unix.EACCES
	for i := range 3 {
		if s := sample(t, p); len(s.Processes) != 0 || s.Faults != max(0, 1-i) {
			t.Errorf("look %d: %+v", i, s)
		}
	}
}

func TestOutOfDescriptors(t *testing.T) {
	tr := newTree(t)
	for i := range 40 {
		tr.process(task{pid: 10 + i, comm: "t", start: i, ticks: 1})
	}
	p := tr.source(tr.domains())
	p.maxOpen = 16
	sample(t, p)
	if p.open != 16 {
		t.Fatalf("%d descriptors", p.open)
	}
	for i := range 40 {
		tr.process(task{pid: 10 + i, comm: "t", start: i, ticks: 3})
	}
	for _, q := range sample(t, p).Processes {
		if q.Delta[0] != 2*proc.ClockTick {
			t.Errorf("%+v", q)
		}
	}
	p.giveBack()
	if p.open != 14 || p.maxOpen != 14 {
		t.Errorf("%d descriptors of %d", p.open, p.maxOpen)
	}
	if s := sample(t, p); s.Faults != 0 || len(p.Baseline().Processes) != 40 {
		t.Errorf("%+v", s)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	tr := newTree(t)
	tr.socket(0, 0, 0)
	tr.socket(1, 1, 0)
	tasks := make([]task, 50)
	for i := range tasks {
		tasks[i] = task{pid: 100 + i, comm: "a process", start: i, threads: 1 + i%3, cpu: i % 2}
		tr.process(tasks[i])
		tr.thread(tasks[i].pid, tasks[i])
	}
	p := tr.source(tr.domains(Zone{0, -1}, Zone{1, -1}))
	s := new(Sample)
	look := func() {
		if err := p.Sample(s); err != nil || s.Faults != 0 {
			t.Fatal(err, s.Faults)
		}
	}
	look()
	if got := testing.AllocsPerRun(20, look); got != 0 {
		t.Errorf("%v allocations in a look at idle processes", got)
	}
	// What is busy is made to look so by taking from what is known of it.
	busy := func() {
		for _, q := range p.processes.All() {
			q.total -= min(q.total, proc.ClockTick)
		}
		look()
	}
	for i := range tasks {
		tasks[i].ticks = 1000
		tr.process(tasks[i])
		tr.thread(tasks[i].pid, tasks[i])
	}
	look()
	busy()
	if got := testing.AllocsPerRun(20, busy); got != 0 {
		t.Errorf("%v allocations in a look at busy processes", got)
	}
}

// What is named for the first time, or has executed a program of another name, is fresh, once.
func TestWhatIsNamedAnewIsFresh(t *testing.T) {
	tr := newTree(t)
	k := task{pid: 10, comm: "sh", start: 1000, ticks: 500}
	tr.process(k)
	p := tr.source(tr.domains())
	sample(t, p)
	for i, c := range []struct {
		comm string
		want bool
	}{{"sh", true}, {"sh", false}, {"kvm", true}, {"kvm", false}} {
		k.comm, k.ticks = c.comm, k.ticks+1
		tr.process(k)
		if q := find(t, sample(t, p), 10, false); q == nil || q.Fresh != c.want {
			t.Errorf("sample %d: %+v, want fresh %v", i, q, c.want)
		}
	}
}
