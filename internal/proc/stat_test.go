package proc

import (
	"bytes"
	"fmt"
	"testing"
)

// A task is the text of a stat file.
type task struct {
	pid, parent int
	comm        string
	flags       int
	ticks       int // half of it as user, half as system time
	start       int
	threads     int
	cpu         int
	addresses   [4]int // start of code and stack, start and end of the arguments
}

func (k task) text() string {
	a := k.addresses
	return fmt.Sprintf("%d (%s) S %d 1 1 0 -1 %d 1 2 3 4 %d %d 5 6 20 0 %d 0 %d 7 8 18446744073709551615 "+
		"%d 10 %d 12 13 14 15 16 17 18 19 20 17 %d 0 0 0 0 0 21 22 23 %d %d 26 27 0\n",
		k.pid, k.comm, k.parent, k.flags, k.ticks-k.ticks/2, k.ticks/2, max(1, k.threads), k.start, a[0], a[1], k.cpu, a[2], a[3])
}

func TestParseStat(t *testing.T) {
	for want, k := range map[string]task{
		"13648/89485 qemu-system-x86 of 7": {pid: 13648, parent: 7, comm: "qemu-system-x86", flags: 138412416, start: 89485},
		"1/89485 a) R 1 (b of 7":           {pid: 1, parent: 7, comm: "a) R 1 (b", start: 89485},
		"2/5 kthreadd of 0, the kernel's":  {pid: 2, comm: "kthreadd", flags: 2129984, start: 5},
	} {
		s, ok := ParseStat([]byte(k.text()))
		got := fmt.Sprintf("%d/%d %s of %d", s.PID, s.Start, s.Comm, s.Parent)
		if s.Kernel {
			got += ", the kernel's"
		}
		if !ok || got != want {
			t.Errorf("%q: %s, want %s", k.text(), got, want)
		}
	}
	good := task{pid: 1, comm: "a", start: 5}.text()
	for _, text := range []string{
		"", "1", "1 (a", "1 a) S", "1 (a) S 2", "1 (a) S x" + good[9:], "x" + good[1:], "0" + good[1:], "-1" + good[1:],
		"2147483648" + good[1:], "1(a" + good[4:], ")(", "1 )(\n", "1 (\n", "1 ()\n",
	} {
		if got, ok := ParseStat([]byte(text)); ok {
			t.Errorf("%q was accepted: %+v", text, got)
		}
	}
}

// The image is another one when any of the addresses is, and unknown where they are hidden.
func TestImage(t *testing.T) {
	image := func(addresses ...int) uint64 {
		s, ok := ParseStat([]byte(task{pid: 7, comm: "x", addresses: [4]int(addresses)}.text()))
		if !ok {
			t.Fatal("refused")
		}
		return s.Image()
	}
	if got := image(0, 0, 0, 0); got != 0 {
		t.Errorf("of hidden addresses: %d", got)
	}
	seen := map[uint64]bool{0: true}
	for _, addresses := range [][]int{{1, 2, 3, 4}, {9, 2, 3, 4}, {1, 9, 3, 4}, {1, 2, 9, 4}, {1, 2, 3, 9}, {12, 3, 4, 5}, {1, 23, 4, 5}, {0, 0, 0, 1}} {
		now := image(addresses...)
		if seen[now] || now != image(addresses...) {
			t.Errorf("%v: %d", addresses, now)
		}
		seen[now] = true
	}
}

func TestHostileComm(t *testing.T) {
	for _, comm := range []string{"a b", ") R 1 2 3", "((", "))", "new\nline", "", ") S 1 (", "\xff\xfe", "tab\there"} {
		text := []byte(task{pid: 7, parent: 3, comm: comm, ticks: 9, start: 77, threads: 2, cpu: 5}.text())
		s, ok := ParseStat(text)
		if !ok || s.PID != 7 || string(s.Comm) != comm || s.Parent != 3 || s.CPUTime != 9*ClockTick || s.Start != 77 || s.Threads != 2 || s.CPU != 5 {
			t.Errorf("comm %q: %+v, %v", comm, s, ok)
		}
	}
}

func TestCutOffStatIsRefused(t *testing.T) {
	text := []byte(task{pid: 7, comm: "x", ticks: 99999, start: 77}.text())
	for n := range text {
		if _, ok := ParseStat(text[:n]); ok {
			t.Errorf("accepted %q", text[:n])
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(task{pid: 7, comm: "x", ticks: 99999, start: 77}.text()))
	f.Add([]byte("1 (a) b) S 1\n"))
	f.Add([]byte(")("))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, ok := ParseStat(text)
		if !ok {
			return
		}
		if s.CPUTime%ClockTick != 0 || s.Parent < 0 || s.Threads < 0 || s.CPU < 0 {
			t.Errorf("%q gives %+v", text, s)
		}
		if !bytes.Contains(text, s.Comm) {
			t.Errorf("%q gives the name %q", text, s.Comm)
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
