package bpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/cputime/cputimetest"
	"github.com/scaph/scaph/test/rights"
)

func start(t testing.TB) *Source {
	t.Helper()
	return startOn(t, cputime.NewDomains("/sys", nil, nil), ringSize)
}

func startOn(t testing.TB, domains *cputime.Domains, ringSize uint32) *Source {
	t.Helper()
	rights.Require(t, rights.Root)
	p, err := open("/proc", domains, ringSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func look(t testing.TB, p *Source) *cputime.Sample {
	t.Helper()
	s := new(cputime.Sample)
	if err := p.Sample(s); err != nil {
		t.Fatal(err)
	}
	return s
}

func find(s *cputime.Sample, pid int) *cputime.Process {
	for i := range s.Processes {
		if s.Processes[i].PID == int32(pid) {
			return &s.Processes[i]
		}
	}
	return nil
}

// totalOf gives what a living process used, 0 where it is not known.
func totalOf(b cputime.Baseline, pid int) uint64 {
	for _, r := range b.Processes {
		if r.PID == int32(pid) {
			return r.Total
		}
	}
	return 0
}

// within tells whether got is as near to want as the part says.
func within(got, want time.Duration, part float64) bool {
	return (got - want).Abs() <= time.Duration(part*float64(want))
}

// lookUntil looks until done, each 20 ms, and fails after 10 s: a process's end is told some
// 10 ms after it.
func lookUntil(t *testing.T, p *Source, done func(*cputime.Sample) bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if done(look(t, p)) {
			return
		}
		<-tick.C
	}
	t.Fatal("waited in vain")
}

func TestConformance(t *testing.T) {
	const rounding = 5 * time.Millisecond // what the child uses between its clock and the look
	cputimetest.Run(t, rounding, func(t testing.TB) cputimetest.Source { return start(t) })
}

func TestNamesProcessesAsProcfsDoes(t *testing.T) {
	p := start(t)
	procfs, err := cputime.NewProcfs("/proc", cputime.NewDomains("/sys", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := procfs.Close(); err != nil {
			t.Error(err)
		}
	}()
	c := startChild(t, "command 50ms")
	defer c.end()
	byProcfs := new(cputime.Sample)
	both := func() (byBPF *cputime.Sample) {
		t.Helper()
		if err := procfs.Sample(byProcfs); err != nil {
			t.Fatal(err)
		}
		return look(t, p)
	}
	both()
	c.ask()
	burn(unix.CLOCK_PROCESS_CPUTIME_ID, clock(unix.CLOCK_PROCESS_CPUTIME_ID)+50*time.Millisecond)
	byBPF := both()
	if q := find(byBPF, c.cmd.Process.Pid); q.Parent != find(byBPF, os.Getpid()).ID {
		t.Errorf("the child's parent is %v, this process %v", q.Parent, find(byBPF, os.Getpid()).ID)
	}
	for _, pid := range []int{os.Getpid(), c.cmd.Process.Pid} {
		a, b := find(byBPF, pid), find(byProcfs, pid)
		if a == nil || b == nil || a.ID != b.ID || a.Comm != b.Comm || a.Parent != b.Parent || a.Kernel != b.Kernel {
			t.Errorf("BPF %+v, procfs %+v", a, b)
		}
	}
	records, err := p.records()
	if err != nil {
		t.Fatal(err)
	}
	kthreadd := process{}
	for r := range eachRecord(records) {
		if r.u32(atTGID) == 2 {
			kthreadd.id = r.id()
			kthreadd.learn(r)
		}
	}
	if q := kthreadd; q.comm != "kthreadd" || !q.kernel || !slices.ContainsFunc(procfs.Baseline().Processes,
		func(r cputime.Reading) bool { return r.ID == q.id }) {
		t.Errorf("the first thread of the kernel: %+v", q)
	}
	if group := cgroupOf(t, os.Getpid()); find(byBPF, os.Getpid()).Cgroup != group && group != 0 {
		t.Errorf("cgroup %d, its directory has inode %d", find(byBPF, os.Getpid()).Cgroup, group)
	}
}

// cgroupOf gives the inode of a process's cgroup v2 directory, 0 where none is mounted.
func cgroupOf(t *testing.T, pid int) uint64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
				var st unix.Stat_t
				if unix.Stat(mount+"/cgroup.procs", new(unix.Stat_t)) == nil && unix.Stat(mount+path, &st) == nil {
					return st.Ino
				}
			}
		}
	}
	return 0
}

// TestShortLivedProcesses lets 100 processes of 20 ms live and die while somebody looks each second.
func TestShortLivedProcesses(t *testing.T) {
	p := start(t)
	look(t, p)
	const processes = 100
	var mu sync.Mutex // guards the next two
	used := make(map[int]time.Duration)
	var sum time.Duration
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range processes / 2 {
				cmd := command("burn 20ms")
				if err := cmd.Run(); err != nil {
					t.Error(err)
				}
				mu.Lock()
				used[cmd.Process.Pid] = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
				sum += used[cmd.Process.Pid]
				mu.Unlock()
			}
		})
	}
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()

	charged := make(map[int]time.Duration)
	ended := make(map[int]bool)
	var faults int
	var unseen uint64
	add := func(s *cputime.Sample) {
		faults += s.Faults
		unseen += s.Unseen[0]
		for _, q := range s.Processes {
			if int(q.Parent.PID) == os.Getpid() {
				charged[int(q.PID)] += time.Duration(q.Delta[0])
				ended[int(q.PID)] = q.Exited
			}
		}
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for running := true; running; {
		select {
		case <-second.C:
			add(look(t, p))
		case <-over:
			running = false
		}
	}
	lookUntil(t, p, func(s *cputime.Sample) bool {
		add(s)
		for pid := range used {
			if !ended[pid] {
				return false
			}
		}
		return true
	})
	var total time.Duration
	for pid, want := range used {
		total += charged[pid]
		if charged[pid] < want*70/100 { // where the end is told at exit only, up to a scheduler tick is missing
			t.Errorf("process %d is charged %v, wait4 says %v", pid, charged[pid], want)
		}
	}
	if total < sum*99/100 || total > sum*105/100 || faults != 0 {
		t.Errorf("%v charged, wait4 says %v; %d faults", total, sum, faults)
	}
	t.Logf("%v charged, wait4 says %v (%.2f %%); %v unseen on this machine",
		total, sum, 100*total.Seconds()/sum.Seconds(), time.Duration(unseen))
}

func TestThreadsThatEnd(t *testing.T) {
	p := start(t)
	look(t, p)
	c := startChild(t, "threads 10ms")
	pid := c.cmd.Process.Pid
	var charged time.Duration
	var clock time.Duration
	for range 5 {
		clock = c.ask()
		q := find(look(t, p), pid)
		charged += time.Duration(q.Delta[0])
	}
	// The ends of the last threads may not be told yet, and the clock leaves out what a thread used
	// between the last scheduler tick and its end.
	if charged < clock*90/100 || charged > clock*115/100 {
		t.Errorf("charged %v, its clock says %v", charged, clock)
	}
	used := c.end()
	lookUntil(t, p, func(s *cputime.Sample) bool {
		q := find(s, pid)
		if q == nil {
			return false
		}
		charged += time.Duration(q.Delta[0])
		if q.Exited && time.Duration(q.Total) != charged {
			t.Errorf("total %d, but %d was charged", q.Total, charged)
		}
		return q.Exited
	})
	if charged < used*97/100 { // one thread in a hundred is 1 %, and its end may go untold
		t.Errorf("charged %v, wait4 says %v", charged, used)
	}
	t.Logf("charged %v, wait4 says %v", charged, used)
}

func TestExecByAnotherThread(t *testing.T) {
	p := start(t)
	look(t, p)
	c := startChild(t, "exec 200ms")
	pid := c.cmd.Process.Pid
	var clock, charged time.Duration
	for range 3 {
		clock = c.ask()
		s := look(t, p)
		q := find(s, pid)
		charged += time.Duration(q.Delta[0])
		if !within(charged, clock, 0.03) {
			t.Errorf("charged %v, its clock says %v", charged, clock)
		}
	}
	c.end()
}

func TestSteadyStateAllocatesNothingPerProcess(t *testing.T) {
	p := start(t)
	s := new(cputime.Sample)
	measure := func() float64 {
		if err := p.Sample(s); err != nil {
			t.Fatal(err)
		}
		return testing.AllocsPerRun(20, func() {
			if err := p.Sample(s); err != nil {
				t.Fatal(err)
			}
		})
	}
	few := measure()
	for range 100 {
		c := startChild(t, "wait")
		t.Cleanup(func() { c.end() })
	}
	many := measure()
	// Opening the iterator takes some; other processes of this machine come and go.
	if many > few+20 || few > 40 {
		t.Errorf("%v allocations in a look, %v with 100 processes more", few, many)
	}
	t.Logf("%v allocations in a look, %v with 100 processes more", few, many)
}

// TestTwoCapabilitiesAreEnough loads the programs as nobody, with CAP_BPF and CAP_PERFMON, and without.
func TestTwoCapabilitiesAreEnough(t *testing.T) {
	rights.Require(t, rights.Root)
	dir, err := os.MkdirTemp("/tmp", "cputime-bpf-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil { // nobody must be able to execute the copy
		t.Fatal(err)
	}
	program := dir + "/test"
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(capabilities ...uintptr) string {
		cmd := exec.Command(program)
		cmd.Dir = "/"
		cmd.Env = []string{role + "=load"}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
			AmbientCaps: capabilities,
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := run(unix.CAP_BPF, unix.CAP_PERFMON); got != `saw this process: true; note: ""` {
		t.Error("with both:", got)
	}
	for _, capabilities := range [][]uintptr{nil, {unix.CAP_BPF}, {unix.CAP_PERFMON}} {
		got := run(capabilities...)
		if !strings.HasPrefix(got, "refused:") || !strings.Contains(got, "CAP_BPF and CAP_PERFMON") {
			t.Errorf("with %v: %s", capabilities, got)
		}
		t.Log(got)
	}
}

// twoCPUs is the need of two processors to tell apart.
func twoCPUs() error {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return err
	}
	if !allowed.IsSet(0) || !allowed.IsSet(1) {
		return errors.New("needs the CPUs 0 and 1")
	}
	return nil
}

// TestPinnedProcessPaysForItsSocket takes each CPU for a socket of its own.
func TestPinnedProcessPaysForItsSocket(t *testing.T) {
	rights.Require(t, twoCPUs)
	cpus, err := cputime.ReadTopology("/sys", "/proc")
	if err != nil {
		t.Fatal(err)
	}
	var zones []cputime.Zone
	for i := range cpus {
		cpus[i].Package, cpus[i].Die = i, 0
		zones = append(zones, cputime.Zone{Package: i, Die: -1})
	}
	p := startOn(t, cputime.NewDomains("/sys", cpus, zones), ringSize)
	look(t, p)
	c := startChild(t, "command 100ms")
	pid := c.cmd.Process.Pid
	var pinned unix.CPUSet
	pinned.Set(1)
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		var tid int
		if _, err := fmt.Sscan(task.Name(), &tid); err != nil {
			t.Fatal(err)
		}
		if err := unix.SchedSetaffinity(tid, &pinned); err != nil {
			t.Fatal(err)
		}
	}
	before := c.ask()
	look(t, p)
	after := c.ask()
	q := find(look(t, p), pid)
	if elsewhere := q.Delta[0]; elsewhere > uint64(after-before)/50 || !within(time.Duration(q.Delta[1]), after-before, 0.03) {
		t.Errorf("pinned to CPU 1, it pays %v; its clock says %v", q.Delta, after-before)
	}
	c.end()
}

// TestLostEndsAreFaults leaves room for a few ends only.
func TestLostEndsAreFaults(t *testing.T) {
	p := startOn(t, cputime.NewDomains("/sys", nil, nil), uint32(os.Getpagesize()))
	look(t, p)
	known := command("wait")
	in, err := known.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := known.Start(); err != nil {
		t.Fatal(err)
	}
	look(t, p)
	p.drain.mu.Lock() // it cannot go on
	for range 100 {
		cmd := command("burn 0s")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(in.Close(), known.Wait()); err != nil { // its end is lost too
		t.Fatal(err)
	}
	p.drain.mu.Unlock()
	lost, dead := 0, 0
	for range absence + 1 {
		s := look(t, p)
		lost += s.Lost
		if s.Faults < s.Lost {
			t.Errorf("%d lost, %d faults", s.Lost, s.Faults)
		}
		if q := find(s, known.Process.Pid); q != nil && q.Exited {
			dead++
		}
	}
	if lost == 0 || dead != 1 {
		t.Errorf("%d ends lost; a process whose end was lost is told %d times to have ended, within %d looks", lost, dead, absence+1)
	}
	for _, r := range p.Baseline().Processes {
		if r.PID == int32(known.Process.Pid) {
			t.Error("it is still among the living")
		}
	}
	for range 2*patience + 2 {
		look(t, p)
	}
	for _, task := range p.tasks {
		if p.looks-task.seen > 2*patience {
			t.Errorf("a task of %v is still kept", task.process.id)
		}
	}
	if len(p.byID) != len(p.processes) {
		t.Errorf("%d processes, %d by id", len(p.processes), len(p.byID))
	}
}

// TestEndsBeyondTheRing lets many times as many processes end between two looks as the ring buffer holds.
func TestEndsBeyondTheRing(t *testing.T) {
	ring := 4 * uint32(os.Getpagesize())
	p := startOn(t, cputime.NewDomains("/sys", nil, nil), ring)
	look(t, p)
	const processes = 500
	for range processes {
		cmd := command("burn 0s")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	}
	ended := 0
	for range 2 {
		s := look(t, p)
		if s.Lost != 0 || s.Faults != 0 {
			t.Errorf("%d ends lost, %d faults", s.Lost, s.Faults)
		}
		for i := range s.Processes {
			if q := &s.Processes[i]; q.Exited && q.Parent.PID == int32(os.Getpid()) {
				ended++
			}
		}
	}
	if most := int(ring / (2 * recordSize)); processes < 4*most {
		t.Fatalf("the buffer holds %d of %d", most, processes)
	}
	lookUntil(t, p, func(s *cputime.Sample) bool {
		for i := range s.Processes {
			if q := &s.Processes[i]; q.Exited && q.Parent.PID == int32(os.Getpid()) {
				ended++
			}
		}
		return ended >= processes
	})
}

func BenchmarkBPFSample(b *testing.B) {
	for _, idle := range []int{0, 1000} {
		b.Run(fmt.Sprintf("idle=%d", idle), func(b *testing.B) {
			for range idle {
				sleeper := exec.Command("sleep", "infinity")
				if err := sleeper.Start(); err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() {
					_ = sleeper.Process.Kill()
					_ = sleeper.Wait()
				})
			}
			p := start(b)
			look(b, p)
			s := new(cputime.Sample)
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Sample(s); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(p.processes)), "ns/process")
		})
	}
}
