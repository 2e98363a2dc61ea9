package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/test/wait"
)

// A host is a /proc and a /sys of plain files.
type host struct {
	*Collector
	t        *testing.T
	root     string
	snapshot *snapshot.Snapshot
}

func newHost(t *testing.T) *host {
	h := &host{t: t, root: t.TempDir(), snapshot: &snapshot.Snapshot{Time: time.Unix(1000, 0)}}
	h.Collector = New(Options{
		Procfs: filepath.Join(h.root, "proc"), Sysfs: filepath.Join(h.root, "sys"), Version: "v1.2.3",
	})
	h.cpus = 4
	h.write("proc/loadavg", "0.25 1.50 2.75 3/400 1234\n")
	h.write("proc/meminfo", "MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  500 kB\nHugePages_Total: 0\nSwapTotal: 200 kB\nSwapFree: 20 kB\n")
	h.write("proc/stat", "cpu  1 2 3\nintr 5 6\nctxt 111\nbtime 1500000000\nprocesses 222\nprocs_running 3\nprocs_blocked 4\nsoftirq 1\n")
	h.write("proc/cpuinfo", "processor\t: 0\nmodel name\t: x\ncpu MHz\t\t: 2400.5\n")
	return h
}

func (h *host) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) look() *series.System {
	h.collect(h.t.Context(), h.snapshot)
	return h.Latest()
}

func TestHost(t *testing.T) {
	h := newHost(t)
	if h.Latest() != nil {
		t.Error("something before the first collection")
	}
	s := h.look()
	if s.Version != 1.2 || s.MHz != 2400.5 || *s.Load != [3]float64{0.25, 1.5, 2.75} {
		t.Errorf("%+v", s)
	}
	if *s.Memory != (series.Memory{Total: 1000 << 10, Available: 500 << 10, Free: 100 << 10, SwapTotal: 200 << 10, SwapFree: 20 << 10}) {
		t.Errorf("%+v", s.Memory)
	}
	if *s.Kernel != (series.KernelCounters{Boot: time.Unix(1_500_000_000, 0), Forks: 222, ContextSwitches: 111, Running: 3, Blocked: 4}) {
		t.Errorf("%+v", s.Kernel)
	}
	if s.Self == nil || s.Self.Resident == 0 || s.Self.Virtual < s.Self.Resident {
		t.Errorf("%+v", s.Self)
	}
	h.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3600000\n")
	if s := h.look(); s.MHz != 3600 {
		t.Errorf("%v MHz", s.MHz)
	}
}

// What is garbage or not there is not shown.
func TestGarbage(t *testing.T) {
	for _, text := range []string{"", "x", "MemTotal: -1 kB\n", "ctxt x\n", "1 x", "\x00\xff: 1\n", "MemTotal: 99999999999999999999 kB\n"} {
		h := newHost(t)
		for _, file := range []string{"loadavg", "meminfo", "stat", "cpuinfo", "1/mounts", "7/statm", "7/io"} {
			h.write("proc/"+file, text)
		}
		h.snapshot.Processes = []snapshot.Process{{PID: 7, Listed: true}}
		if s := h.look(); s.Load != nil || s.Memory != nil || s.Kernel != nil || s.MHz != 0 || len(s.Disks) > 0 || len(s.Processes) > 0 {
			t.Errorf("%q: %+v", text, s)
		}
	}
	h := newHost(t)
	if err := os.RemoveAll(filepath.Join(h.root, "proc")); err != nil {
		t.Fatal(err)
	}
	h.snapshot = &snapshot.Snapshot{}
	if s := h.look(); s.Load != nil || s.Memory != nil || s.Kernel != nil || s.Version != 1.2 {
		t.Errorf("without /proc: %+v", s)
	}
}

func (h *host) process(pid int, pages, written int, cmdline string) {
	dir := fmt.Sprintf("proc/%d/", pid)
	h.write(dir+"statm", fmt.Sprintf("%d %d 3 4 0 5 0\n", 2*pages, pages))
	h.write(dir+"io", fmt.Sprintf("rchar: 1\nwchar: 2\nread_bytes: %d\nwrite_bytes: %d\ncancelled_write_bytes: 0\n", 2*written, written))
	h.write(dir+"cmdline", cmdline)
}

func TestProcesses(t *testing.T) {
	h := newHost(t)
	page := uint64(os.Getpagesize())
	h.process(10, 100, 1000, "worker\x00--name\x00a b\x00")
	h.process(20, 200, 0, "qemu\x00-enable-kvm\x00")
	h.process(30, 1, 0, "")
	h.process(40, 1, 0, "not listed")
	if err := os.Symlink("/usr/bin/qemu (deleted)", filepath.Join(h.root, "proc/20/exe")); err != nil {
		t.Fatal(err)
	}
	h.snapshot.Processes = []snapshot.Process{
		{PID: 10, Start: 5, Exe: "/usr/bin/worker", CPU: time.Second, Listed: true},
		{PID: 30, Start: 6, Kernel: true, Listed: true},
		{PID: 40, Start: 7},
		{PID: 50, Start: 8, Listed: true}, // has ended
	}
	h.snapshot.VMs = []snapshot.VM{{UUID: "u", PID: 20, CPU: time.Second}, {UUID: "v"}}
	s := h.look()
	if len(s.Processes) != 3 {
		t.Errorf("%d processes", len(s.Processes))
	}
	worker, vm := s.Processes[10], s.Processes[20]
	if worker.Cmdline != "worker --name a b" || worker.Exe != "/usr/bin/worker" || worker.Start != 5 || worker.CPUPercent != 0 ||
		worker.Resident != 100*page || worker.Virtual != 200*page || *worker.IO != (series.ProcessIO{TotalRead: 2000, TotalWritten: 1000}) {
		t.Errorf("%+v %+v", worker, worker.IO)
	}
	if vm.Exe != "/usr/bin/qemu" || vm.Cmdline != "qemu -enable-kvm" || vm.Start != 0 {
		t.Errorf("%+v", vm)
	}

	// The next time: a new Snapshot, 10 s later, in which the worker has used 4 s of 40, and has another title.
	next := *h.snapshot
	next.Time = next.Time.Add(10 * time.Second)
	next.Processes = []snapshot.Process{{PID: 10, Start: 5, Exe: "/usr/bin/worker", CPU: 5 * time.Second, Listed: true}}
	h.snapshot = &next
	h.process(10, 100, 1500, "worker: busy")
	later := h.look()
	if u := later.Processes[10]; u.CPUPercent != 10 || u.Cmdline != worker.Cmdline || *u.IO != (series.ProcessIO{Read: 1000, Written: 500, TotalRead: 3000, TotalWritten: 1500}) {
		t.Errorf("%+v %+v", u, u.IO)
	}
	if *worker.IO != (series.ProcessIO{TotalRead: 2000, TotalWritten: 1000}) || len(s.Processes) != 3 {
		t.Error("what was handed out has changed")
	}

	// Another process has the number now.
	another := next
	another.Time = another.Time.Add(time.Second)
	another.Processes = []snapshot.Process{{PID: 10, Start: 99, Exe: "/usr/bin/worker", CPU: 9 * time.Second, Listed: true}}
	h.snapshot = &another
	h.process(10, 1, 7, "other")
	if u := h.look().Processes[10]; u.Start != 99 || u.CPUPercent != 0 || u.Cmdline != "other" || u.IO.Written != 0 || u.IO.TotalWritten != 7 {
		t.Errorf("%+v %+v", u, u.IO)
	}
	if len(h.cmdlines) != 2 || len(h.cpu) != 2 { // it and the VM
		t.Errorf("remembers %v, %v", h.cmdlines, h.cpu)
	}
}

// A process whose arguments cannot be read because it is stuck delays nothing, and is asked again only when it has answered.
func TestStuckProcess(t *testing.T) {
	h := newHost(t)
	h.ofProcesses.patience = time.Millisecond
	h.process(10, 1, 0, "")
	h.process(11, 1, 0, "fine\x00")
	path := filepath.Join(h.root, "proc/10/cmdline")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil { // to open one blocks until somebody writes
		t.Fatal(err)
	}
	h.snapshot.Processes = []snapshot.Process{{PID: 10, Listed: true}, {PID: 11, Listed: true}}
	for range 3 {
		if s := h.look(); s.Processes[10].Cmdline != "" {
			t.Errorf("%+v", s.Processes[10])
		}
		if n := h.hanging(path); n != 1 {
			t.Errorf("%d reads hang", n)
		}
	}
	h.ofProcesses.patience = time.Minute
	if s := h.look(); s.Processes[11].Cmdline != "fine" {
		t.Errorf("another one: %+v", s.Processes[11])
	}
	writer, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // for the read that was left behind
		_, _ = writer.WriteString("back\x00")
		_ = writer.Close()
	}()
	wait.Until(t, "the read that was left behind returns", time.Minute, func() bool { return h.hanging(path) == 0 })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	h.process(10, 1, 0, "back\x00again\x00")
	if s := h.look(); s.Processes[10].Cmdline != "back again" {
		t.Errorf("after it: %+v", s.Processes[10])
	}
}

// hanging counts the reads of a path that hang.
func (h *host) hanging(path string) int {
	h.ofProcesses.mu.Lock()
	defer h.ofProcesses.mu.Unlock()
	n := 0
	for key := range h.ofProcesses.hanging {
		if key == path {
			n++
		}
	}
	return n
}

// Only so many reads hang at a time, and they end with the context.
func TestPatience(t *testing.T) {
	p := newPatient()
	p.patience = time.Millisecond
	release := make(chan struct{})
	started := make(chan struct{}, 2*maxHanging)
	block := func() (int, error) {
		started <- struct{}{}
		<-release
		return 1, nil
	}
	for i := range 2 * maxHanging {
		if _, err := read(t.Context(), p, i, block); !errors.Is(err, errHangs) {
			t.Errorf("read %d: %v", i, err)
		}
	}
	for range maxHanging {
		<-started
	}
	if len(started) > 0 {
		t.Error("more reads than may hang")
	}
	close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never := make(chan struct{})
	defer close(never)
	if _, err := read(ctx, newPatient(), "x", func() (int, error) { <-never; return 0, nil }); !errors.Is(err, errHangs) {
		t.Errorf("with its context done: %v", err)
	}
}

func TestDisks(t *testing.T) {
	h := newHost(t)
	for _, dir := range []string{"a b", "data", "nfs", "over", "bind"} {
		if err := os.MkdirAll(filepath.Join(h.root, "proc/1/root/mnt", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.write("proc/1/mounts", strings.Join([]string{
		`sysfs /sys sysfs rw 0 0`,
		`/dev/nosuchsda1 /mnt/a\040b ext4 rw 0 0`,
		`/dev/nosuchnvme0n1 /mnt/data xfs rw 0 0`,
		`/dev/nosuchnvme0n1 /mnt/nfs xfs rw 0 0`, // covered by the next, and of a device that is there
		`server:/export /mnt/nfs nfs4 rw 0 0`,
		`/dev/nosuchsda1 /mnt/bind ext4 rw 0 0`, // the same once more
		`/dev/nosuchsdb /mnt/over ext4 rw 0 0`,
		`tmpfs /mnt/over tmpfs rw 0 0`, // covers it
		`/dev/nosuchsdc /mnt/gone ext4 rw 0 0`,
		`/dev/fuse /mnt/data2 fuse.x rw 0 0`,
		`/dev/nosuchsdd`,
	}, "\n")+"\n")
	disk := filepath.Join(h.root, "sys/devices/pci/block/nosuchsda")
	h.write("sys/devices/pci/block/nosuchsda/queue/rotational", "1\n")
	h.write("sys/devices/pci/block/nosuchsda/removable", "1\n")
	h.write("sys/devices/pci/block/nosuchsda/nosuchsda1/partition", "1\n")
	h.write("sys/class/block/nosuchnvme0n1/queue/rotational", "0\n")
	h.write("sys/class/block/nosuchnvme0n1/removable", "0\n")
	if err := os.Symlink(filepath.Join(disk, "nosuchsda1"), filepath.Join(h.root, "sys/class/block/nosuchsda1")); err != nil {
		t.Fatal(err)
	}
	got := h.look().Disks
	want := []series.Disk{
		{Device: "/dev/nosuchsda1", MountPoint: "/mnt/a b", FileSystem: "ext4", Type: "HDD", Removable: true},
		{Device: "/dev/nosuchnvme0n1", MountPoint: "/mnt/data", FileSystem: "xfs", Type: "SSD"},
		{Device: "server:/export", MountPoint: "/mnt/nfs", FileSystem: "nfs4", Type: "Unknown"},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		d := got[i]
		if d.Total == 0 || d.Available > d.Total {
			t.Errorf("%+v", d)
		}
		if d.Total, d.Available = 0, 0; d != want[i] {
			t.Errorf("got %+v, want %+v", d, want[i])
		}
	}
}

func TestUnescape(t *testing.T) {
	for field, want := range map[string]string{
		`/a`: "/a", `/a\040b\011c`: "/a b\tc", `\134`: `\`, `/a\`: `/a\`, `/a\04`: `/a\04`, `/a\999`: `/a\999`, `\777`: `\777`,
	} {
		if got := unescape(field); got != want {
			t.Errorf("%s: %q", field, got)
		}
	}
}

func TestMajorMinor(t *testing.T) {
	for version, want := range map[string]float64{"v1.2.3": 1.2, "0.10": 0.10, "2.5-rc1": 0, "dev": 0, "": 0, "1": 0, "(devel)": 0} {
		if got := majorMinor(version); got != want {
			t.Errorf("%s: %v", version, got)
		}
	}
}

// Run collects at once, and ends with its context.
func TestRun(t *testing.T) {
	h := newHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	snapshots := make(chan *snapshot.Snapshot)
	h.options.Next = func(ctx context.Context, _ uint64) *snapshot.Snapshot {
		select {
		case s := <-snapshots:
			return s
		case <-ctx.Done():
			return nil
		}
	}
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	var first *series.System
	for i, second := range []int64{0, 1, 4, 5} { // the third and fourth are taken when the one before was looked at
		snapshots <- &snapshot.Snapshot{Seq: uint64(i + 1), Time: time.Unix(1000+second, 0)}
		if second == 4 {
			first = h.Latest()
		}
	}
	snapshots <- &snapshot.Snapshot{Seq: 5, Time: time.Unix(1006, 0)}
	if h.Latest() == nil || h.Latest() == first {
		t.Error("it is to collect at once, and again after five seconds")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What a collection costs for 100 processes of this host's own /proc.
func BenchmarkCollect(b *testing.B) {
	pid := int32(os.Getpid())
	s := &snapshot.Snapshot{Time: time.Unix(1, 0)}
	for i := range 100 {
		s.Processes = append(s.Processes, snapshot.Process{PID: pid, Start: uint64(i), Listed: true})
	}
	c := New(Options{Procfs: "/proc", Sysfs: "/sys"})
	b.ReportAllocs()
	for b.Loop() {
		c.collect(b.Context(), s)
	}
}
