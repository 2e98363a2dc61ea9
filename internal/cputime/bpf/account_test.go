package bpf

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/proc"
)

const second = 1_000_000_000

// A state is what the kernel would tell of one task.
type state struct {
	address           uint64
	pid, tgid, parent uint32
	start, leader     uint64 // ns since boot
	runtime, dead     uint64
	cpu               uint32
	comm              string
	kernelThread      bool
	exit              bool // it begins to end; else, told as ended, the kernel has done with it
}

func (k state) record() []byte {
	r := make([]byte, recordSize)
	for at, v := range map[int]uint64{
		atAddress: k.address, atStart: k.start, atLeaderStart: k.leader, atRuntime: k.runtime, atDeadRuntime: k.dead, atCgroup: 7,
		atParentBegan: 7 * proc.ClockTick,
	} {
		binary.NativeEndian.PutUint64(r[at:], v)
	}
	for at, v := range map[int]uint32{atPID: k.pid, atTGID: k.tgid, atParent: k.parent, atCPU: k.cpu} {
		binary.NativeEndian.PutUint32(r[at:], v)
	}
	if k.kernelThread {
		binary.NativeEndian.PutUint32(r[atFlags:], 0x00200000)
	}
	if k.exit {
		binary.NativeEndian.PutUint32(r[atKind:], kindExit)
	}
	copy(r[atComm:atComm+commSize-1], k.comm)
	return r
}

// A fake is a source whose kernel is the test.
type fake struct {
	*Source
	now uint64
}

func newFake() *fake {
	var cpus []cputime.CPU
	for i := range 2 {
		cpus = append(cpus, cputime.CPU{Number: i, Package: i})
	}
	zones := []cputime.Zone{{Package: 0, Die: -1}, {Package: 1, Die: -1}}
	f := &fake{newSource(cputime.NewDomains("/nonexistent", cpus, zones)), 1000 * second}
	f.cpus = new(cputime.CPUs)
	return f
}

// A sight is what a look gave: a Sample, and the totals of all that live.
type sight struct {
	*cputime.Sample
	totals []cputime.Reading
}

// look takes a look, one second after the last, that finds these tasks ended and these listed.
func (f *fake) look(ended, listed []state) sight {
	s := new(cputime.Sample)
	s.Reset(2)
	for _, k := range ended {
		f.ends = append(f.ends, k.record()...)
	}
	var records []byte
	for _, k := range listed {
		records = append(records, k.record()...)
	}
	f.account(s, f.now, records, false)
	f.now += second
	return sight{s, slices.Clone(f.Baseline().Processes)}
}

// expectIdle makes sure that a process is known, with a total, and not in the Sample.
func expectIdle(t *testing.T, s sight, pid int, total uint64) {
	t.Helper()
	for _, q := range s.Processes {
		if q.PID == int32(pid) && !q.Exited {
			t.Errorf("an idle process is named: %+v", q)
		}
	}
	known := slices.ContainsFunc(s.totals, func(r cputime.Reading) bool { return r.PID == int32(pid) && r.Total == total })
	if !known {
		t.Errorf("pid %d with a total of %d is not among %v", pid, total, s.totals)
	}
}

// expect compares a process's entry; exited is what it must say.
func expect(t *testing.T, s sight, pid int, exited bool, total uint64, delta ...uint64) {
	t.Helper()
	found := 0
	for _, q := range s.Processes {
		if q.PID == int32(pid) && q.Exited == exited {
			found++
			if q.Total != total || !slices.Equal(q.Delta, delta) {
				t.Errorf("%+v; expected total %d, delta %v", q, total, delta)
			}
		}
	}
	if found != 1 {
		t.Errorf("pid %d, exited %v: %d entries", pid, exited, found)
	}
}

func TestFirstLookTakesAccountsOfTheDead(t *testing.T) {
	f := newFake()
	f.bootID = "boot"
	id := proc.ID{PID: 10, Start: 100}
	f.Restore(cputime.Baseline{BootID: "boot", Processes: []cputime.Reading{{ID: id, Total: 400}}})
	leader := state{address: 1, pid: 10, tgid: 10, start: second, leader: second, runtime: 300, dead: 200, cpu: 0}
	thread := state{address: 2, pid: 11, tgid: 10, start: 2 * second, leader: second, runtime: 100, dead: 200, cpu: 1}
	limbo := state{address: 3, pid: 12, tgid: 10, start: 2 * second, leader: second, runtime: 150, dead: 200, cpu: 1}
	expect(t, f.look([]state{limbo}, []state{thread, leader}), 10, false, 600, 150, 50)
	// A thread that had ended by the first look, and is told of now, is among the dead already.
	expectIdle(t, f.look([]state{limbo}, []state{thread, leader}), 10, 600)
}

func TestProcessBetweenTwoLooks(t *testing.T) {
	f := newFake()
	f.look(nil, nil)
	born := f.now
	leader := state{address: 1, pid: 10, tgid: 10, parent: 3, start: born, leader: born, runtime: 30, cpu: 1, comm: "short"}
	thread := state{address: 2, pid: 11, tgid: 10, start: born, leader: born, runtime: 5, cpu: 0, comm: "thread"}
	s := f.look([]state{leader}, nil)
	expect(t, s, 10, false, 30, 0, 30)
	if q := s.Processes[0]; q.Parent != (proc.ID{PID: 3, Start: 7}) || q.Cgroup != 7 || q.Comm != "short" {
		t.Errorf("%+v", q)
	}
	expect(t, f.look([]state{thread}, nil), 10, true, 35, 5, 0)
	if s := f.look(nil, nil); len(s.Processes) != 0 || len(f.byID)+len(f.tasks)+len(s.totals) != 0 {
		t.Errorf("something is left: %+v", s)
	}
}

func TestLastSliceIsChargedWhenTheEndIsToldLate(t *testing.T) {
	f := newFake()
	k := state{address: 1, pid: 10, tgid: 10, start: 5, leader: 5, runtime: 30}
	f.look(nil, []state{k})
	expectIdle(t, f.look(nil, nil), 10, 30) // gone from the list, not freed
	k.runtime = 45
	expect(t, f.look([]state{k}, nil), 10, false, 45, 15, 0)
	expect(t, f.look(nil, nil), 10, true, 45, 0, 0)
}

func TestExitIsFollowedByTheFinalAccount(t *testing.T) {
	f := newFake()
	f.look(nil, nil)
	k := state{address: 1, pid: 10, tgid: 10, start: f.now, leader: f.now, runtime: 30, exit: true}
	final := k
	final.exit, final.runtime = false, 33
	other := k
	other.address, other.pid, other.tgid = 2, 20, 20
	s := f.look([]state{k, other, final}, nil)
	expect(t, s, 10, false, 33, 33, 0)
	expect(t, s, 20, false, 30, 30, 0) // the kernel never tells that it has done with this one
	s = f.look(nil, nil)
	expect(t, s, 10, true, 33, 0, 0)
	expectIdle(t, s, 20, 30)
	expect(t, f.look(nil, nil), 20, true, 30, 0, 0)
}

func TestReusedAddressAndPID(t *testing.T) {
	f := newFake()
	k := state{address: 1, pid: 10, tgid: 10, start: 5, leader: 5, runtime: 30}
	f.look(nil, []state{k})
	old := k
	old.runtime = 31
	k.start, k.leader, k.runtime = f.now, f.now, 3
	s := f.look([]state{old}, []state{k})
	if got := []uint64{s.Processes[0].Delta[0], s.Processes[1].Delta[0]}; !slices.Equal(got, []uint64{1, 3}) {
		t.Errorf("charged %v", got)
	}
	s = f.look(nil, []state{k})
	expect(t, s, 10, true, 31, 0, 0)
	expectIdle(t, s, 10, 3)
	if len(s.totals) != 1 {
		t.Errorf("baseline %v", s.totals)
	}
	next := k // the same with the end of the former one lost: its last slice is, too
	next.start, next.leader, next.runtime = f.now, f.now, 2
	f.look(nil, []state{next})
	s = f.look(nil, []state{next})
	expect(t, s, 10, true, 3, 0, 0)
	expectIdle(t, s, 10, 2)
}

func TestExecTakesOnTheLeader(t *testing.T) {
	f := newFake()
	leader := state{address: 1, pid: 10, tgid: 10, start: 5, leader: 5, runtime: 30}
	thread := state{address: 2, pid: 11, tgid: 10, start: 9, leader: 5, runtime: 100}
	f.look(nil, []state{leader, thread})
	leader.pid, leader.runtime = 11, 31
	thread.pid, thread.start, thread.runtime = 10, 5, 120
	expect(t, f.look([]state{leader}, []state{thread}), 10, false, 151, 21, 0)
	thread.runtime = 121
	f.look([]state{thread}, nil)
	expect(t, f.look(nil, nil), 10, true, 152, 0, 0)
}

func TestForgetsWhatIsNeverToldToEnd(t *testing.T) {
	f := newFake()
	k := state{address: 1, pid: 10, tgid: 10, start: 5, leader: 5, runtime: 30}
	f.look(nil, []state{k})
	for range absence - 1 {
		expectIdle(t, f.look(nil, nil), 10, 30)
	}
	expect(t, f.look(nil, nil), 10, true, 30, 0, 0)
	for range patience {
		if s := f.look(nil, nil); len(s.Processes)+len(s.totals) != 0 {
			t.Errorf("told again: %+v, %v", s.Processes, s.totals)
		}
	}
	if len(f.tasks)+len(f.byID)+len(f.processes) != 0 {
		t.Errorf("left: %d tasks, %d processes", len(f.tasks), len(f.processes))
	}
}

// The last slice of a process that is told to have ended already is told by itself, and nobody lives for it.
func TestEndAfterItWasTold(t *testing.T) {
	f := newFake()
	k := state{address: 1, pid: 10, tgid: 10, start: 5, leader: 5, runtime: 30}
	f.look(nil, []state{k})
	for range absence + 3 {
		f.look(nil, nil)
	}
	k.runtime = 45
	s := f.look([]state{k}, nil)
	expect(t, s, 10, true, 15, 15, 0)
	if len(s.totals) != 0 {
		t.Errorf("living: %v", s.totals)
	}
	for range 2 {
		if s := f.look(nil, nil); len(s.Processes) != 0 || len(f.tasks)+len(f.byID)+len(f.processes) != 0 {
			t.Errorf("left: %+v; %d tasks, %d processes", s.Processes, len(f.tasks), len(f.processes))
		}
	}
}

func TestVhostThreadHasItsOwner(t *testing.T) {
	f := newFake()
	f.look(nil, nil)
	s := f.look(nil, []state{
		{address: 1, pid: 10, tgid: 10, comm: "vhost-4711", start: f.now, leader: f.now, runtime: 1, kernelThread: true},
		{address: 2, pid: 11, tgid: 11, comm: "vhost-4711", start: f.now, leader: f.now, runtime: 1},
	})
	if s.Processes[0].Owner != 4711 || s.Processes[1].Owner != 0 {
		t.Errorf("%+v", s.Processes)
	}
}

// FuzzAccount lets anything happen to a few tasks. What holds whatever the kernel tells: a process's
// Total is the sum of its Deltas, it does not fall, and after its end it is not listed.
func FuzzAccount(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 0x80, 1, 2, 9, 0xff, 1, 2, 3})
	f.Fuzz(func(t *testing.T, script []byte) {
		src := newFake()
		src.look(nil, nil)
		totals := make(map[proc.ID]uint64)
		var ended, listed []state
		for len(script) >= 4 {
			a, b, c, d := script[0], script[1], script[2], script[3]
			script = script[4:]
			tgid := uint32(b%4) + 1
			leader := src.began + uint64(c%2)*second
			k := state{
				address: uint64(a%8) + 1, tgid: tgid, pid: tgid + uint32(c%3), leader: leader,
				start: leader + uint64(d%2)*second, runtime: uint64(d), cpu: uint32(d % 2), exit: a&0x20 == 0, comm: string(script[:min(3, len(script))]),
			}
			if k.pid == k.tgid {
				k.start = leader
			}
			switch {
			case a&0x80 == 0:
				listed = append(listed, k)
			case a&0x40 == 0:
				ended = append(ended, k)
			default:
				for _, q := range src.look(ended, listed).Processes {
					if q.Total != totals[q.ID]+q.Delta[0]+q.Delta[1] {
						t.Fatalf("%+v, before %d", q, totals[q.ID])
					}
					if totals[q.ID] = q.Total; q.Exited {
						delete(totals, q.ID)
					}
				}
				ended, listed = nil, nil
			}
		}
		for _, q := range src.processes {
			if q.tasks < 0 || int(q.tasks) > len(src.tasks) {
				t.Fatalf("%d tasks of %v", q.tasks, q.id)
			}
		}
	})
}

// What is named for the first time, or has executed a program of another name, is fresh, once; what was renamed while
// it was not named is so when it is.
func TestWhatIsNamedAnewIsFresh(t *testing.T) {
	f := newFake()
	k := state{address: 1, pid: 10, tgid: 10, start: second, leader: second, comm: "sh", runtime: 5}
	f.look(nil, []state{k})
	for i, c := range []struct {
		comm string
		want bool
	}{{"sh", true}, {"sh", false}, {"kvm", true}, {"kvm", false}} {
		k.comm, k.runtime = c.comm, k.runtime+5
		s := f.look(nil, []state{k})
		if len(s.Processes) != 1 || s.Processes[0].Fresh != c.want {
			t.Errorf("look %d: %+v, want fresh %v", i, s.Processes, c.want)
		}
	}
}
