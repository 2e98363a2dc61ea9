// Package cputimetest is what every source of CPU time must do, whatever it reads, shown on real
// processes of known CPU time. A source runs it in three lines, and its TestMain calls Main.
package cputimetest

import (
	"os"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/cputime"
)

// A Source is one under test, as meter.CPUSource.
type Source interface {
	Sample(*cputime.Sample) error
	Baseline() cputime.Baseline
	Restore(cputime.Baseline)
	Close() error
}

// Run tests the sources that open returns; they are closed at the end of their test. What one says of a
// process may differ from that process's own clock by the rounding.
func Run(t *testing.T, rounding time.Duration, open func(testing.TB) Source) {
	s := suite{rounding, open}
	t.Run("child", s.child)
	t.Run("idle", s.idle)
	t.Run("restart", s.restart)
	t.Run("another boot", s.anotherBoot)
}

type suite struct {
	rounding time.Duration
	open     func(testing.TB) Source
}

// child follows a process from its start to its end.
func (s suite) child(t *testing.T) {
	p := s.open(t)
	if q := used(look(t, p)); q != nil {
		t.Errorf("the first look charges %+v", q)
	}
	c := startChild(t, 500*time.Millisecond)
	first := c.burn()
	now := look(t, p)
	q := find(t, now, c.pid())
	s.compare(t, "a new process and its past", q, first)
	if int(q.Parent.PID) != os.Getpid() || q.Parent.Start == 0 || q.Kernel || q.Exited || q.Comm == "" {
		t.Errorf("it is %+v", q)
	}
	if now.Busy[0]+uint64(100*time.Millisecond) < q.Delta[0] || now.Capacity[0] < now.Busy[0] {
		t.Errorf("busy %d of %d ns, the child alone %d", now.Busy[0], now.Capacity[0], q.Delta[0])
	}
	id := q.ID
	second := c.burn()
	q = find(t, look(t, p), c.pid())
	s.compare(t, "a process that is known", q, second-first)
	if q.ID != id {
		t.Errorf("it was %v, and is %v", id, q.ID)
	}
	whole := c.end()
	lookUntil(t, p, func(now *cputime.Sample) bool {
		q := find(t, now, c.pid())
		if q == nil {
			if _, known := totals(p)[id]; !known {
				t.Fatal("forgotten before its end was told")
			}
			return false
		}
		if q.Exited && (time.Duration(q.Total)-whole).Abs() > s.rounding {
			t.Errorf("it used %v in all, wait4 says %v", time.Duration(q.Total), whole)
		}
		return q.Exited
	})
	if find(t, look(t, p), c.pid()) != nil {
		t.Error("named after its end was told")
	}
	if _, known := totals(p)[id]; known {
		t.Error("it is still among the living")
	}
}

// idle has a process rest: a Sample does not name it, the Baseline has it.
func (s suite) idle(t *testing.T) {
	p := s.open(t)
	look(t, p)
	c := startChild(t, 50*time.Millisecond)
	c.burn()
	q := find(t, look(t, p), c.pid())
	if q == nil {
		t.Fatal("a busy process is not named")
	}
	id := q.ID
	lookUntil(t, p, func(now *cputime.Sample) bool { return find(t, now, c.pid()) == nil }) // it still goes to sleep
	if total := totals(p)[id]; time.Duration(total) < 50*time.Millisecond-s.rounding {
		t.Errorf("the baseline says that it used %v", time.Duration(total))
	}
	c.end()
}

// restart hands the baseline of one source to another: what was used in between is charged.
func (s suite) restart(t *testing.T) {
	first := s.open(t)
	old := startChild(t, 200*time.Millisecond)
	before := old.burn()
	look(t, first)
	baseline := clone(first.Baseline())

	after := old.burn()
	young := startChild(t, 200*time.Millisecond)
	all := young.burn()
	second := s.open(t)
	second.Restore(baseline)
	now := look(t, second)
	s.compare(t, "one that lived before the gap", find(t, now, old.pid()), after-before)
	s.compare(t, "one that began in the gap", find(t, now, young.pid()), all)
	if now.Busy[0] < uint64(300*time.Millisecond) {
		t.Errorf("busy %d ns in the gap", now.Busy[0])
	}
	old.end()
	young.end()
}

// anotherBoot has a source ignore a baseline that says nothing about this boot.
func (s suite) anotherBoot(t *testing.T) {
	first := s.open(t)
	c := startChild(t, 100*time.Millisecond)
	c.burn()
	look(t, first)
	for _, boot := range []string{"another", ""} {
		baseline := clone(first.Baseline())
		baseline.BootID = boot
		for i := range baseline.Processes {
			baseline.Processes[i].Total = 0
		}
		p := s.open(t)
		p.Restore(baseline)
		now := look(t, p)
		if q := used(now); q != nil {
			t.Errorf("a baseline of the boot %q was used: %+v", boot, q)
		}
		if now.Busy[0] != 0 {
			t.Errorf("a baseline of the boot %q was used: busy %d ns", boot, now.Busy[0])
		}
	}
	c.end()
}

// compare holds what a process is charged against its own clock.
func (s suite) compare(t *testing.T, what string, q *cputime.Process, clock time.Duration) {
	t.Helper()
	if q == nil {
		t.Fatalf("%s is not named; its clock says %v", what, clock)
	}
	var charged uint64
	for _, ns := range q.Delta {
		charged += ns
	}
	if (time.Duration(charged) - clock).Abs() > s.rounding {
		t.Errorf("%s is charged %v, its clock says %v", what, time.Duration(charged), clock)
	}
}
