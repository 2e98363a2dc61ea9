package cputime

import (
	"strings"
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

func TestCPULines(t *testing.T) {
	type line struct {
		cpu        int
		busy, idle uint64
	}
	for text, want := range map[string]struct {
		lines  []line
		faults int
	}{
		"cpu  9 9 9 9\ncpu0 1 2 4 8 16 32 64 128 256 512\nintr 5\ncpu7 1 1 1 1\n": {[]line{{0, 103, 24}}, 0},
		"cpu0 1 2 4 8\ncpu3 0 0 0 1 0 0 0 0\n":                                    {[]line{{0, 7, 8}, {3, 0, 1}}, 0},
		"cpu0 1 2 4 8 16 32\ncpu1 1 2 4 8 1":                                      {[]line{{0, 39, 24}}, 1},
		"cpu0 1 2 x 8\ncpu1 1 2 4 8\n":                                            {[]line{{1, 7, 8}}, 1},
		"cpu99999999 1 2 3 4\ncpu-1 1 2 3 4\ncpu1 99999999999999999 1 1 1\n":      {nil, 4},
		"":     {nil, 1},
		"\x00": {nil, 1},
	} {
		var got []line
		faults := parseCPULines([]byte(text), func(cpu int, busy, idle uint64) {
			got = append(got, line{cpu, busy / proc.ClockTick, idle / proc.ClockTick})
		})
		if faults != want.faults || len(got) != len(want.lines) {
			t.Errorf("%q gives %v and %d faults", text, got, faults)
			continue
		}
		for i := range got {
			if got[i] != want.lines[i] {
				t.Errorf("%q gives %v", text, got)
			}
		}
	}
}

func FuzzParseCPULines(f *testing.F) {
	f.Add([]byte("cpu  1 2 3 4\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1\n"))
	f.Add([]byte("cpu0 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := strings.Count(string(text), "\n")
		parseCPULines(text, func(cpu int, busy, idle uint64) {
			lines--
			if cpu < 0 || cpu >= maxCPU || busy%proc.ClockTick != 0 || idle%proc.ClockTick != 0 {
				t.Errorf("%q gives CPU %d: %d, %d", text, cpu, busy, idle)
			}
		})
		if lines < 0 {
			t.Errorf("%q gives more CPUs than lines", text)
		}
	})
}
