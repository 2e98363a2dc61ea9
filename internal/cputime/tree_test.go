package cputime

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/proc"
)

// A tree is a made-up /proc and /sys. Files are rewritten in place, as the source keeps them open.
type tree struct {
	t    testing.TB
	proc string
	sys  string
}

func newTree(t testing.TB) *tree {
	dir := t.TempDir()
	tr := &tree{t, filepath.Join(dir, "proc"), filepath.Join(dir, "sys")}
	tr.write("proc/sys/kernel/random/boot_id", "7d3c1f0e-0000-4000-8000-000000000001\n")
	tr.cpus([2]int{})
	return tr
}

func (tr *tree) write(path, text string) {
	tr.t.Helper()
	path = filepath.Join(filepath.Dir(tr.proc), path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		tr.t.Fatal(err)
	}
}

// cpus writes /proc/stat from pairs of busy and idle ticks, by CPU number.
func (tr *tree) cpus(ticks ...[2]int) {
	tr.t.Helper()
	var b strings.Builder
	b.WriteString("cpu  0 0 0 0 0 0 0 0 0 0\n")
	for n, ticks := range ticks {
		fmt.Fprintf(&b, "cpu%d %d 0 0 %d 0 0 0 0 0 0\n", n, ticks[0]+1, ticks[1]+1)
	}
	b.WriteString("intr 1 2 3\nbtime 1\n")
	tr.write("proc/stat", b.String())
}

// socket places a CPU.
func (tr *tree) socket(cpu, pkg, die int) {
	dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d/topology/", cpu)
	tr.write(dir+"physical_package_id", strconv.Itoa(pkg)+"\n")
	tr.write(dir+"die_id", strconv.Itoa(die)+"\n")
}

// A task is the text of a stat file.
type task struct {
	pid, parent int
	comm        string
	kernel      bool
	ticks       int // half of it as user, half as system time
	start       int
	threads     int
	cpu         int
}

func (k task) text() string {
	flags := 0x400000
	if k.kernel {
		flags |= 0x00200000 // PF_KTHREAD
	}
	return fmt.Sprintf("%d (%s) S %d 1 1 0 -1 %d 1 2 3 4 %d %d 5 6 20 0 %d 0 %d 7 8 18446744073709551615 "+
		"9 10 11 12 13 14 15 16 17 18 19 20 17 %d 0 0 0 0 0 21 22 23 24 25 26 27 0\n",
		k.pid, k.comm, k.parent, flags, k.ticks-k.ticks/2, k.ticks/2, max(1, k.threads), k.start, k.cpu)
}

func (tr *tree) process(k task) {
	tr.t.Helper()
	tr.write(fmt.Sprintf("proc/%d/stat", k.pid), k.text())
}

func (tr *tree) thread(pid int, k task) {
	tr.t.Helper()
	tr.write(fmt.Sprintf("proc/%d/task/%d/stat", pid, k.pid), k.text())
}

func (tr *tree) remove(pid int) {
	tr.t.Helper()
	if err := os.RemoveAll(filepath.Join(tr.proc, strconv.Itoa(pid))); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *tree) domains(zones ...Zone) *Domains {
	tr.t.Helper()
	cpus, err := ReadTopology(tr.sys, tr.proc)
	if err != nil {
		tr.t.Fatal(err)
	}
	return NewDomains(tr.sys, cpus, zones)
}

func (tr *tree) source(d *Domains) *Procfs {
	tr.t.Helper()
	return openSource(tr.t, proc.Kernel{}, tr.proc, d)
}

func openSource(t testing.TB, files proc.Files, procfs string, d *Domains) *Procfs {
	t.Helper()
	p, err := newProcfs(files, procfs, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if p.open != 0 {
			t.Errorf("%d descriptors not given back", p.open)
		}
	})
	return p
}

func sample(t testing.TB, p *Procfs) *Sample {
	t.Helper()
	s := new(Sample)
	if err := p.Sample(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// find gives the one entry of a pid that is alive or, where exited, dead.
func find(t testing.TB, s *Sample, pid int, exited bool) *Process {
	t.Helper()
	var found *Process
	for i := range s.Processes {
		if q := &s.Processes[i]; q.PID == int32(pid) && q.Exited == exited {
			if found != nil {
				t.Fatalf("pid %d is listed twice", pid)
			}
			found = q
		}
	}
	return found
}

// totalOf gives what a process that is known used, 0 for others.
func totalOf(p *Procfs, pid int) uint64 {
	for _, r := range p.Baseline().Processes {
		if r.PID == int32(pid) {
			return r.Total
		}
	}
	return 0
}

// faulty makes the calls of the kernel fail at random.
type faulty struct {
	proc.Kernel
	random *rand.Rand
	rate   float64
	raised int // faults raised that the source is bound to notice and to count
}

var errs = []error{unix.EIO, unix.EACCES, unix.ENOENT}

func (f *faulty) fails() bool { return f.random.Float64() < f.rate }

func (f *faulty) Open(dir int, path []byte) (int, error) {
	if f.fails() {
		return -1, errs[f.random.IntN(len(errs))]
	}
	return f.Kernel.Open(dir, path)
}

func (f *faulty) Read(fd int, b []byte, offset int64) (int, error) {
	if !f.fails() || offset > 0 {
		return f.Kernel.Read(fd, b, offset)
	}
	return f.spoil(b, func() (int, error) { return f.Kernel.Read(fd, b, offset) })
}

func (f *faulty) List(fd int, b []byte) (int, error) {
	if !f.fails() {
		return f.Kernel.List(fd, b)
	}
	return f.spoil(b, func() (int, error) { return f.Kernel.List(fd, b) })
}

func (f *faulty) spoil(b []byte, call func() (int, error)) (int, error) {
	f.raised++
	n, err := call()
	switch kind := f.random.IntN(len(errs) + 3); {
	case kind < len(errs):
		return 0, errs[kind]
	case kind == len(errs):
		return 0, nil
	case kind == len(errs)+1:
		for i := range b[:n] {
			b[i] = byte(f.random.Uint32())
		}
		return n, err
	default:
		if n > 0 {
			n = f.random.IntN(n)
		}
		return n, err
	}
}
