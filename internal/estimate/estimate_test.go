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

// A machine is a /proc/stat and a clock, both moved by the test.
type machine struct {
	t          *testing.T
	procfs     string
	time       time.Time
	busy, idle uint64
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, procfs: t.TempDir(), time: time.Unix(1e9, 0), busy: 700, idle: 9000}
	m.write()
	return m
}

func (m *machine) now() time.Time { return m.time }

func (m *machine) write() {
	m.stat(fmt.Sprintf("cpu  %d 0 0 %d 0 0 0 0 0 0\ncpu0 1 2 3 4\n", m.busy, m.idle))
}

func (m *machine) stat(content string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.procfs, "stat"), []byte(content), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// run lets d pass with the given clock ticks.
func (m *machine) run(d time.Duration, busy, idle uint64) {
	m.time = m.time.Add(d)
	m.busy += busy
	m.idle += idle
	m.write()
}

func (m *machine) sensor(idle, most energy.Watts) *Sensor {
	m.t.Helper()
	s, err := New(m.procfs, idle, most, m.now)
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
	if got := read(t, s); got != 0 {
		t.Errorf("at the start: %v", got)
	}
	for _, c := range []struct {
		what       string
		d          time.Duration
		busy, idle uint64
		want       energy.Microjoules // since the start
	}{
		{"at rest", time.Second, 0, 400, 20 * energy.Joule},
		{"busy", time.Second, 400, 0, 120 * energy.Joule},
		{"half", 2 * time.Second, 400, 400, 240 * energy.Joule},
		{"between two clock ticks", time.Millisecond, 0, 0, 240 * energy.Joule},
		{"and the rest of that second", 999 * time.Millisecond, 100, 300, 280 * energy.Joule},
		{"no time", 0, 100, 0, 280 * energy.Joule},
	} {
		m.run(c.d, c.busy, c.idle)
		if got := read(t, s); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// Many small steps give what one large one gives: fractions of a microjoule are carried.
func TestFractionsAreCarried(t *testing.T) {
	m := newMachine(t)
	s := m.sensor(0.0001, 0.0001) // 0.1 µJ per ms
	for range 100_000 {
		m.time = m.time.Add(time.Millisecond)
		s.last.idle-- // as if a clock tick had passed
		if err := s.step(); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, s); got < 9999 || got > 10000 {
		t.Errorf("%d µJ, want 10000", got)
	}
}

func TestNeverGoesBack(t *testing.T) {
	m := newMachine(t)
	s := m.sensor(20, 100)
	m.run(time.Second, 100, 100)
	last := read(t, s)
	for _, c := range []struct {
		what   string
		change func()
	}{
		{"the clock goes back", func() { m.run(-time.Second, 10, 10) }},
		{"iowait falls", func() { m.idle -= 50; m.run(2*time.Second, 10, 0) }},
		{"CPUs are taken away", func() { m.busy /= 2; m.idle /= 2; m.run(time.Second, 0, 0) }},
		{"the counters start anew", func() { m.busy, m.idle = 0, 0; m.run(time.Second, 0, 0) }},
		{"an hour passes at rest", func() { m.run(time.Hour, 0, 100) }},
	} {
		c.change()
		got := read(t, s)
		if most := energy.Watts(100).Over(time.Hour + 10*time.Second); got < last || got > last+most {
			t.Errorf("%s: from %v to %v", c.what, last, got)
		}
		last = got
	}
	if want := energy.Watts(20).Over(time.Hour); last < want {
		t.Errorf("%v after an hour at rest, want at least %v", last, want)
	}
}

// What passes while /proc/stat cannot be read is not lost.
func TestFaultIsBridged(t *testing.T) {
	m := newMachine(t)
	s := m.sensor(20, 100)
	for _, content := range []string{"", "\n", "cpu\n", "cpu  1 2 3\n", "cpu  1 2 3 4", "cpu0 1 2 3 4\n", "cpu  1 2 x 4\n", "cpu  1 2 -3 4\n",
		"cpu  1 2 3 18446744073709551615\n", strings.Repeat("9", 5000)} {
		m.stat(content)
		m.time = m.time.Add(time.Second)
		var dst [1]energy.Reading
		s.Read(dst[:])
		err := dst[0].Err
		if err == nil || !strings.Contains(err.Error(), m.procfs) || len(err.Error()) > len(m.procfs)+200 {
			t.Errorf("%.40q: %v", content, err)
		}
	}
	m.run(0, 0, 100)
	if got := read(t, s); got != 200*energy.Joule {
		t.Errorf("%v, want 200 J", got)
	}
}

func TestBadPowers(t *testing.T) {
	m := newMachine(t)
	nan, inf := energy.Watts(math.NaN()), energy.Watts(math.Inf(1))
	for _, c := range [][2]energy.Watts{{-1, 100}, {100, 20}, {0, 0}, {nan, 100}, {20, nan}, {20, inf}, {inf, inf}, {20, 2e6}} {
		if s, err := New(m.procfs, c[0], c[1], m.now); err == nil {
			t.Errorf("idle %v, full load %v: %+v", c[0], c[1], s)
		}
	}
	if _, err := New(t.TempDir(), 20, 100, m.now); err == nil || !strings.Contains(err.Error(), "stat") {
		t.Errorf("no /proc/stat: %v", err)
	}
	for _, c := range [][2]energy.Watts{{0, 1}, {50, 50}, {MaxWatts, MaxWatts}} {
		m.sensor(c[0], c[1])
	}
}

// The real /proc/stat, over a real while.
func TestThisMachine(t *testing.T) {
	s, err := New("/proc", 20, 100, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for now := start; read(t, s) == 0; now = <-look.C {
		if now.Sub(start) > 10*time.Second {
			t.Fatal("the counter does not move")
		}
	}
	got, elapsed := read(t, s), time.Since(start)
	if got > energy.Watts(100).Over(elapsed) {
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
