package cputime

import (
	"slices"
	"testing"

	"github.com/scaph/scaph/internal/proc"
)

func TestReadTopology(t *testing.T) {
	tr := newTree(t)
	tr.cpus([2]int{}, [2]int{})
	cpus, err := ReadTopology(tr.sys, tr.proc)
	if want := []CPU{{0, -1, 0}, {1, -1, 0}}; err != nil || !slices.Equal(cpus, want) {
		t.Errorf("without sysfs: %v, %v", cpus, err)
	}
	tr.socket(10, 1, 1)
	tr.socket(2, -1, -1)
	tr.write("sys/devices/system/cpu/cpu3/online", "0\n")
	tr.write("sys/devices/system/cpu/cpufreq/x", "")
	tr.write("sys/devices/system/cpu/cpu99999/x", "")
	cpus, err = ReadTopology(tr.sys, tr.proc)
	if want := []CPU{{2, 0, 0}, {3, -1, 0}, {10, 1, 1}}; err != nil || !slices.Equal(cpus, want) {
		t.Errorf("%v, %v", cpus, err)
	}
	if _, err := ReadTopology(t.TempDir(), t.TempDir()); err == nil {
		t.Error("a machine without CPUs")
	}
}

func TestDomains(t *testing.T) {
	two := []CPU{{0, 0, 0}, {1, 0, 1}, {2, 1, 0}}
	for name, c := range map[string]struct {
		cpus  []CPU
		zones []Zone
		len   int
		byCPU []int // by index in cpus
	}{
		"per package":        {two, []Zone{{0, -1}, {1, -1}}, 2, []int{0, 0, 1}},
		"in zone order":      {two, []Zone{{1, -1}, {-1, -1}, {0, -1}, {1, -1}}, 2, []int{1, 1, 0}},
		"per die":            {two, []Zone{{0, 0}, {0, 1}, {1, 0}}, 3, []int{0, 1, 2}},
		"mixed":              {two, []Zone{{0, 0}, {0, 1}, {1, -1}}, 3, []int{0, 1, 2}},
		"a guest's one zone": {two, []Zone{{0, -1}}, 1, []int{0, 0, 0}},
		"a die without zone": {two, []Zone{{0, 0}, {1, -1}}, 1, []int{0, 0, 0}},
		"no package known":   {[]CPU{{0, 0, 0}, {1, 0, 0}}, []Zone{{0, -1}, {1, -1}}, 1, []int{0, 0}},
		"one is offline":     {append(two, CPU{3, -1, 0}), []Zone{{0, -1}, {1, -1}}, 2, []int{0, 0, 1, 0}},
		"nothing is known":   {[]CPU{{0, -1, 0}, {1, -1, 0}}, []Zone{{0, -1}, {1, -1}}, 1, []int{0, 0}},
		"psys":               {two, []Zone{{-1, -1}}, 1, []int{0, 0, 0}},
		"no zone":            {two, nil, 1, []int{0, 0, 0}},
	} {
		d := NewDomains(t.TempDir(), c.cpus, c.zones)
		var got []int
		for _, cpu := range c.cpus {
			got = append(got, d.OfCPU(cpu.Number))
		}
		if d.Len() != c.len || !slices.Equal(got, c.byCPU) {
			t.Errorf("%s: %d domains, CPUs in %v", name, d.Len(), got)
		}
		for _, z := range c.zones {
			if n := d.OfZone(z); n < 0 || n >= d.Len() {
				t.Errorf("%s: zone %v in domain %d", name, z, n)
			}
		}
	}
}

func TestPluggedCPU(t *testing.T) {
	tr := newTree(t)
	tr.socket(0, 0, 0)
	tr.socket(1, 1, 0)
	d := tr.domains(Zone{0, -1}, Zone{1, -1})
	tr.socket(2, 1, 0)
	if got := d.OfCPU(2); got != 1 {
		t.Errorf("in domain %d", got)
	}
	for _, cpu := range []int{-1, maxCPU, 7} {
		if got := d.OfCPU(cpu); got != 0 {
			t.Errorf("CPU %d in domain %d", cpu, got)
		}
	}
}

// A CPU that is offline at the start, and one that is replaced while the program runs, belong to their own package as
// soon as they run something.
func TestCPUComesOnline(t *testing.T) {
	tr := newTree(t)
	tr.socket(0, 0, 0)
	tr.socket(1, 1, 0)
	tr.write("sys/devices/system/cpu/cpu2/online", "0\n")
	tr.cpus([2]int{100, 100}, [2]int{100, 100})
	d := tr.domains(Zone{0, -1}, Zone{1, -1})
	c, err := OpenCPUs(tr.proc, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	look := func(used int, cpus ...[2]int) *Sample {
		t.Helper()
		tr.cpus(cpus...)
		s := new(Sample)
		s.Reset(2)
		s.Append(2).Delta[d.OfCPU(2)] = uint64(used) * proc.ClockTick // as a source does: before it looks at the CPUs
		c.Sample(s)
		return s
	}
	look(0, [2]int{100, 100}, [2]int{100, 100})
	if d.Len() != 2 || d.OfCPU(2) != 0 {
		t.Fatalf("%d domains; the CPU that is offline is in domain %d", d.Len(), d.OfCPU(2))
	}
	tr.socket(2, 1, 0) // online now
	look(0, [2]int{100, 100}, [2]int{100, 100}, [2]int{10, 10})
	if s := look(30, [2]int{100, 100}, [2]int{100, 100}, [2]int{40, 10}); s.Busy[1] != 30*proc.ClockTick || s.Busy[0] != 0 || s.Unseen[0]+s.Unseen[1] != 0 {
		t.Errorf("busy %v, unseen %v", s.Busy, s.Unseen)
	}
	// Offline again, it keeps its place for what it still has to tell; and what comes back may be another.
	look(0, [2]int{100, 100}, [2]int{100, 100})
	if d.OfCPU(2) != 1 {
		t.Errorf("offline, it is in domain %d", d.OfCPU(2))
	}
	tr.socket(2, 0, 0)
	look(0, [2]int{100, 100}, [2]int{100, 100}, [2]int{40, 10})
	if s := look(20, [2]int{100, 100}, [2]int{100, 100}, [2]int{60, 10}); s.Busy[0] != 20*proc.ClockTick || s.Busy[1] != 0 {
		t.Errorf("replaced: busy %v", s.Busy)
	}
	// A steady state reads no topology.
	tr.socket(0, 1, 0)
	look(0, [2]int{100, 100}, [2]int{100, 100}, [2]int{60, 10})
	if d.OfCPU(0) != 0 {
		t.Error("the place of a CPU that stayed online was read again")
	}
}
