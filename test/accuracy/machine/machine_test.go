package machine

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/test/rights"
)

func options(packages int) Options {
	return Options{
		Seed: 3, Packages: packages, CPUs: 4, Homogeneous: true, Storm: 5, Power: 1, Step: time.Second,
		PackageWrap: 1_500_000_000, MemoryWrap: 1_100_000_000,
	}
}

func TestSameSeedSameTruth(t *testing.T) {
	var one, two bytes.Buffer
	New(options(2), &one).Step(50)
	New(options(2), &two).Step(50)
	if one.String() != two.String() {
		t.Error("two machines of one seed differ")
	}
}

func TestTruthAddsUp(t *testing.T) {
	var truth bytes.Buffer
	m := New(options(2), &truth)
	m.Step(100)
	lines := bytes.Split(bytes.TrimSpace(truth.Bytes()), []byte("\n"))
	var last line
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil {
		t.Fatal(err)
	}
	var zones, accounts, cpus, used float64
	for _, z := range m.zones {
		if z.basis {
			zones += float64(last.Zones[z.id])
		}
	}
	for _, uj := range last.Accounts {
		accounts += uj
	}
	for _, c := range m.cpus {
		cpus += c.busy.Seconds()
	}
	for _, s := range last.CPU {
		used += s
	}
	if math.Abs(zones-accounts) > 10 || math.Abs(cpus-used) > 1e-6 || last.Step != 100 || last.Wraps == 0 {
		t.Errorf("zones %v, accounts %v µJ; CPUs %v, used %v s; step %d, %d wraps", zones, accounts, cpus, used, last.Step, last.Wraps)
	}
}

// mount shows m in a directory until the test ends.
func mount(t *testing.T, m *Machine) string {
	t.Helper()
	rights.Require(t, rights.FUSE)
	dir := t.TempDir()
	server, err := m.Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestMounted reads the machine as a meter does, by the paths of the kernel.
func TestMounted(t *testing.T) {
	m := New(options(2), &bytes.Buffer{})
	dir := mount(t, m)
	read := func(path string) string {
		text, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	number := func(text string) uint64 {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	const first, second = "sys/class/powercap/intel-rapl:0/energy_uj", "sys/class/powercap/intel-rapl:1/energy_uj"
	counter, err := os.Open(filepath.Join(dir, first))
	if err != nil {
		t.Fatal(err)
	}
	defer counter.Close()
	look := func() uint64 {
		buf := make([]byte, 64)
		n, err := counter.ReadAt(buf, 0)
		if err != nil && err != io.EOF {
			t.Error(err)
		}
		return number(string(buf[:n]))
	}
	held := look()
	if look() != held {
		t.Error("a held machine moved")
	}
	m.Release()
	other, stat := read(second), read("proc/stat")
	if read(second) != other || read("proc/stat") != stat || number(read(first)) != held {
		t.Error("the machine moved although nobody began a tick")
	}
	if look() == held || read(second) == other || read("proc/stat") == stat {
		t.Error("the machine did not move at a tick")
	}
	m.mu.Lock()
	processes := slices.Clone(m.load.order)
	m.mu.Unlock()
	for _, p := range processes {
		pid := strconv.Itoa(p.pid)
		if text := read("proc/" + pid + "/stat"); !strings.HasPrefix(text, pid+" ("+p.comm+") ") || !strings.HasSuffix(text, "\n") {
			t.Errorf("stat of %s: %q", pid, text)
		}
		if exe, err := os.Readlink(filepath.Join(dir, "proc", pid, "exe")); err != nil || exe != p.exe {
			t.Errorf("exe of %s: %q, %v", pid, exe, err)
		}
		tasks, err := os.ReadDir(filepath.Join(dir, "proc", pid, "task"))
		if err != nil || len(tasks) != len(p.threads) {
			t.Errorf("%d tasks of %s, %v", len(tasks), pid, err)
		}
	}
}

// TestListedAnew holds /proc to what readers of it do: keep the directory open and go back to its start.
func TestListedAnew(t *testing.T) {
	m := New(options(1), &bytes.Buffer{})
	dir := mount(t, m)
	proc, err := os.Open(filepath.Join(dir, "proc"))
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	before, err := proc.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	m.Away(true) // nobody ends
	m.Step(40)
	if _, err := proc.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	after, err := proc.Readdirnames(-1)
	if err != nil || len(after) <= len(before) {
		t.Errorf("%d entries before, %d after new processes were started, %v", len(before), len(after), err)
	}
}

func TestFaultsAreCounted(t *testing.T) {
	m := New(options(1), &bytes.Buffer{})
	m.Spoil(0.5)
	spoiled := 0
	for range 1000 {
		if text, errno := m.spoil("12345\n"); errno != 0 || text != "12345\n" {
			spoiled++
		}
	}
	if m.Faults() != spoiled || spoiled < 400 || spoiled > 600 {
		t.Errorf("%d of 1000 reads were spoiled, %d counted", spoiled, m.Faults())
	}
}
