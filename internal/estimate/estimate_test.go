package estimate

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// A machine is a /proc/stat of four CPUs, moved by the test.
type machine struct {
	t          *testing.T
	procfs     string
	busy, idle uint64
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, procfs: t.TempDir()}
	m.write()
	return m
}

func (m *machine) write() {
	m.stat(fmt.Sprintf("cpu  %d 0 0 %d 0 0 0 0 0 0\ncpu0 1 2 3 4\ncpu1 1 2 3 4\ncpu2 1 2 3 4\ncpu3 1 2 3 4\nintr 5 6\n", m.busy, m.idle))
}

func (m *machine) stat(content string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.procfs, "stat"), []byte(content), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// run lets the given clock ticks pass, 400 in a second.
func (m *machine) run(busy, idle uint64) {
	m.busy += busy
	m.idle += idle
	m.write()
}

func (m *machine) sensor(idle, most energy.Watts) *Sensor {
	m.t.Helper()
	s, err := New(m.procfs, idle, most)
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

func read(t *testing.T, s *Sensor) energy.Microjoules {
	t.Helper()
	var dst [1]energy.Reading
	s.Read(dst[:])
	if dst[0].Err != nil {
		t.Fatal(dst[0].Err)
	}
	return dst[0].Energy
}

func TestModel(t *testing.T) {
	m := newMachine(t)
	s := m.sensor(20, 100)
	for _, c := range []struct {
		what       string
		busy, idle uint64
		want       energy.Microjoules // since boot
	}{
		{"a second at rest", 0, 400, 20 * energy.Joule},
		{"a second, all busy", 400, 0, 120 * energy.Joule},
		{"two seconds, half busy", 400, 400, 240 * energy.Joule},
		{"between two clock ticks", 0, 0, 240 * energy.Joule},
		{"a second, a quarter busy", 100, 300, 280 * energy.Joule},
	} {
		m.run(c.busy, c.idle)
		if got := read(t, s); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	// Like a hardware counter, it goes on while nobody looks.
	m.run(0, 400)
	if got := read(t, m.sensor(20, 100)); got != 300*energy.Joule {
		t.Errorf("another process reads %v, want 300 J", got)
	}
}

func TestNeverGoesBack(t *testing.T) {
	m := newMachine(t)
	s := m.sensor(20, 100)
	m.run(1000, 1000)
	last := read(t, s)
	for _, c := range []struct {
		what   string
		change func()
	}{
		{"iowait falls", func() { m.idle -= 50; m.run(10, 0) }},
		{"CPUs are taken away", func() { m.busy /= 2; m.idle /= 2; m.write() }},
		{"the counters start anew", func() { m.busy, m.idle = 0, 0; m.write() }},
		{"a while passes", func() { m.run(2000, 2000) }},
	} {
		c.change()
		got := read(t, s)
		if got < last {
			t.Errorf("%s: from %v to %v", c.what, last, got)
		}
		last = got
	}
	if want := energy.Joule * 600; last != want {
		t.Errorf("%v in the end, want %v", last, want)
	}
}

// CPUs that come and go give nothing and take nothing: the counter goes on at the machine's power.
func TestCPUsComeAndGo(t *testing.T) {
	m := newMachine(t)
	s := m.sensor(20, 100)
	m.run(40_000, 40_000) // a long uptime, of which each CPU has its share
	last := read(t, s)
	for _, cpus := range []uint64{4, 3, 8, 1, 4} {
		m.busy += 100 * cpus // a second, all busy
		m.stat(fmt.Sprintf("cpu  %d 0 0 %d\n%s", m.busy, m.idle, strings.Repeat("cpu0 1 2 3 4\n", int(cpus))))
		got := read(t, s)
		if got != last+100*energy.Joule {
			t.Errorf("%d CPUs: %v in a second, want 100 J", cpus, got-last)
		}
		last = got
	}
}

// What passes while /proc/stat cannot be read is not lost.
func TestFaultIsBridged(t *testing.T) {
	m := newMachine(t)
	s := m.sensor(20, 100)
	for _, content := range []string{"", "\n", "cpu\n", "cpu  1 2 3\n", "cpu  1 2 3 4", "cpu0 1 2 3 4\n", "cpu  1 2 x 4\ncpu0 1\n", "cpu  1 2 -3 4\ncpu0 1\n",
		"cpu  1 2 3 18446744073709551615\ncpu0 1\n", strings.Repeat("9", 1<<17)} {
		m.stat(content)
		var dst [1]energy.Reading
		s.Read(dst[:])
		err := dst[0].Err
		if err == nil || !strings.Contains(err.Error(), m.procfs) || len(err.Error()) > len(m.procfs)+200 {
			t.Errorf("%.40q: %v", content, err)
		}
	}
	m.run(0, 4000)
	if got := read(t, s); got != 200*energy.Joule {
		t.Errorf("%v, want 200 J", got)
	}
}

func TestBadPowers(t *testing.T) {
	m := newMachine(t)
	nan, inf := energy.Watts(math.NaN()), energy.Watts(math.Inf(1))
	for _, c := range [][2]energy.Watts{{-1, 100}, {100, 20}, {0, 0}, {nan, 100}, {20, nan}, {20, inf}, {inf, inf}, {20, 2e6}} {
		if s, err := New(m.procfs, c[0], c[1]); err == nil {
			t.Errorf("idle %v, full load %v: %+v", c[0], c[1], s)
		}
	}
	if _, err := New(t.TempDir(), 20, 100); err == nil || !strings.Contains(err.Error(), "stat") {
		t.Errorf("no /proc/stat: %v", err)
	}
	for _, c := range [][2]energy.Watts{{0, 1}, {50, 50}, {MaxWatts, MaxWatts}} {
		m.sensor(c[0], c[1])
	}
}

// The real /proc/stat, over a real while.
func TestThisMachine(t *testing.T) {
	s, err := New("/proc", 20, 100)
	if err != nil {
		t.Fatal(err)
	}
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	start, first := time.Now(), read(t, s)
	for now := start; read(t, s) == first; now = <-look.C {
		if now.Sub(start) > 10*time.Second {
			t.Fatal("the counter does not move")
		}
	}
	got, elapsed := read(t, s)-first, time.Since(start)
	if got > energy.Watts(100).Over(elapsed+100*time.Millisecond) { // and some ticks of the kernel's clock
		t.Errorf("%v in %v", got, elapsed)
	}
	zones := s.Zones()
	if len(zones) != 1 || zones[0].Source != energy.SourceEstimate || zones[0].Name != "package-0" || zones[0].Range != 0 {
		t.Errorf("%+v", zones)
	}
	s.Read(nil)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzParseCPUTime(f *testing.F) {
	for _, line := range []string{"cpu  14741 0 4605 139549 378 0 80 14 0 0", "cpu 1 2 3 4", "cpu", "cpu 1 2 3 99999999999999999999", "cpu0 1 2 3 4"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		got, ok := parseCPUTime(line)
		var user, nice, system, idle uint64
		if n, _ := fmt.Sscanf(string(line), "cpu %d %d %d %d", &user, &nice, &system, &idle); ok && n == 4 {
			if got.idle < idle || got.busy < user+nice+system {
				t.Errorf("%q: %+v", line, got)
			}
		}
	})
}
