package cputime

import (
	"bytes"
	"strings"
	"testing"

	"github.com/scaph/scaph/internal/proc"
)

func TestHostileComm(t *testing.T) {
	for _, comm := range []string{"a b", ") R 1 2 3", "((", "))", "new\nline", "", ") S 1 (", "\xff\xfe", "tab\there"} {
		text := []byte(task{pid: 7, parent: 3, comm: comm, ticks: 9, start: 77, threads: 2, cpu: 5}.text())
		s, ok := parseStat(text)
		if !ok || string(s.comm) != comm || s.parent != 3 || s.total != 9*proc.ClockTick || s.start != 77 || s.threads != 2 || s.cpu != 5 {
			t.Errorf("comm %q: %+v, %v", comm, s, ok)
		}
	}
}

func TestCutOffStatIsRefused(t *testing.T) {
	text := []byte(task{pid: 7, comm: "x", ticks: 99999, start: 77}.text())
	for n := range text {
		if _, ok := parseStat(text[:n]); ok {
			t.Errorf("accepted %q", text[:n])
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(task{pid: 7, comm: "x", ticks: 99999, start: 77}.text()))
	f.Add([]byte("1 (a) b) S 1\n"))
	f.Add([]byte(")("))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, ok := parseStat(text)
		if !ok {
			return
		}
		if s.total%proc.ClockTick != 0 || s.parent < 0 || s.threads < 0 || s.cpu < 0 || s.cpu > maxCPU {
			t.Errorf("%q gives %+v", text, s)
		}
		if !bytes.Contains(text, s.comm) {
			t.Errorf("%q gives the name %q", text, s.comm)
		}
	})
}

func FuzzNumbersIn(f *testing.F) {
	f.Add(append(make([]byte, 16), "\x18\x00\x04123\x00"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		numbers, _ := numbersIn(nil, b)
		for _, n := range numbers {
			if n <= 0 {
				t.Errorf("%q gives %d", b, n)
			}
		}
	})
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
