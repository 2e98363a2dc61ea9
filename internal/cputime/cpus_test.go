package cputime

import (
	"testing"

	"github.com/scaph/scaph/internal/proc"
)

func openTree(t *testing.T, tr *tree) *CPUs {
	t.Helper()
	c, err := OpenCPUs(tr.proc, tr.domains())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// step looks at the CPUs after processes used the given time.
func step(c *CPUs, used uint64) *Sample {
	s := new(Sample)
	s.Reset(1)
	s.Append(1).Delta[0] = used
	c.Sample(s)
	return s
}

func TestUnseenIsNotRounding(t *testing.T) {
	tr := newTree(t)
	c := openTree(t, tr)
	step(c, 0)
	busy, unseen := 0, uint64(0)
	for i := range 1000 { // processes and CPUs agree in the long run, and are a tick apart in each look
		busy += 50
		wobble := 1 - 2*(i%2)
		tr.cpus([2]int{busy + wobble, 1000 * i})
		unseen += step(c, 50*proc.ClockTick).Unseen[0]
	}
	if unseen > 2*proc.ClockTick {
		t.Errorf("%d ns unseen, all of it rounding", unseen)
	}
	tr.cpus([2]int{busy + 300, 2_000_000})
	if s := step(c, 100*proc.ClockTick); s.Unseen[0] < 198*proc.ClockTick || s.Unseen[0] > 202*proc.ClockTick {
		t.Errorf("%d ns unseen, not 200 ticks", s.Unseen[0])
	}
}

func TestCreditIsBounded(t *testing.T) {
	tr := newTree(t)
	c := openTree(t, tr)
	step(c, 0)
	step(c, 3600*100*proc.ClockTick) // an hour that the ticks missed
	tr.cpus([2]int{300, 0})
	if s := step(c, 0); s.Unseen[0] != 200*proc.ClockTick {
		t.Errorf("%d ns unseen, not 3 s less the carry of 1 s", s.Unseen[0])
	}
}

func TestCPUsComeAndGo(t *testing.T) {
	tr := newTree(t)
	tr.cpus([2]int{10, 10}, [2]int{100, 100})
	c := openTree(t, tr)
	step(c, 0)
	tr.cpus([2]int{20, 20})
	if s := step(c, 0); s.Busy[0] != 10*proc.ClockTick || s.Capacity[0] != 20*proc.ClockTick {
		t.Errorf("one offline: %+v", s)
	}
	tr.cpus([2]int{20, 20}, [2]int{130, 110}, [2]int{5000, 5000})
	if s := step(c, 0); s.Busy[0] != 30*proc.ClockTick || s.Capacity[0] != 40*proc.ClockTick {
		t.Errorf("one online again, one new: %+v", s)
	}
	tr.cpus([2]int{20, 20}, [2]int{140, 105}, [2]int{5000, 10})
	if s := step(c, 0); s.Busy[0] != 10*proc.ClockTick || s.Capacity[0] != 10*proc.ClockTick {
		t.Errorf("idle runs backwards: %+v", s)
	}
	tr.cpus([2]int{20, 20}, [2]int{140, 112}, [2]int{5000, 30})
	if s := step(c, 0); s.Busy[0] != 0 || s.Capacity[0] != 22*proc.ClockTick {
		t.Errorf("2 ticks beyond the highest, 20 after a new start: %+v", s)
	}
}

func TestUnreadableStatIsMadeUpFor(t *testing.T) {
	tr := newTree(t)
	c := openTree(t, tr)
	step(c, 0)
	tr.write("proc/stat", "")
	if s := step(c, 10*proc.ClockTick); s.Faults != 1 || s.Busy[0] != 0 || s.Unseen[0] != 0 {
		t.Errorf("%+v", s)
	}
	tr.cpus([2]int{30, 70})
	if s := step(c, 15*proc.ClockTick); s.Busy[0] != 30*proc.ClockTick || s.Unseen[0] != 5*proc.ClockTick {
		t.Errorf("%+v", s)
	}
}
