package vfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/test/fdstore"
	"github.com/scaph/scaph/test/rights"
)

// TestReaderWithoutRights reads as others, and as a member of qemu's group.
func TestReaderWithoutRights(t *testing.T) {
	const group = 64055
	tree := NewTree("test", group)
	publish(t, tree, update(testTime, 7, testVMs(1)...))
	dir := t.TempDir()
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Mount(tree, options(t, filepath.Join(dir, "tree")))
	if err != nil {
		t.Fatal(err)
	}
	serveUntilCleanup(t, s)
	vm := filepath.Join(s.Path(), "vm0")
	for _, c := range []struct {
		gid  uint32
		file string
		want string
	}{
		{65534, "intel-rapl:0/name", "package-0\n"},
		{65534, "scaph/uuid", testUUID(0) + "\n"},
		{65534, "intel-rapl:0/energy_uj", ""},
		{group, "intel-rapl:0/energy_uj", "7\n"},
	} {
		cmd := exec.Command("cat", filepath.Join(vm, c.file))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: c.gid}}
		out, err := cmd.Output()
		if string(out) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("group %d reads %s: %q, %v; want %q", c.gid, c.file, out, err, c.want)
		}
	}
}

// TestDropCaches has the kernel forget inodes that are then opened below a held directory, as virtiofsd does, which
// must not get file handles to open by.
func TestDropCaches(t *testing.T) {
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 7, testVMs(2)...))
	path, _ := serve(t, tree)
	held, err := unix.Open(filepath.Join(path, "vm1"), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(held)
	if _, _, err := unix.NameToHandleAt(held, "scaph/uuid", 0); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("file handle: %v, want EOPNOTSUPP", err)
	}
	before := inodeOf(t, filepath.Join(path, "vm1/intel-rapl/intel-rapl:0/energy_uj"))
	for range 3 {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Openat(held, "intel-rapl/intel-rapl:0/energy_uj", unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 20)
		if n, err := unix.Pread(fd, buf, 0); err != nil || string(buf[:n]) != "7\n" {
			t.Errorf("%q, %v", buf[:max(n, 0)], err)
		}
		unix.Close(fd)
	}
	if after := inodeOf(t, filepath.Join(path, "vm1/intel-rapl/intel-rapl:0/energy_uj")); after != before {
		t.Errorf("inode %d became %d", before, after)
	}
}

// TestHandlerPanic breaks the state for one VM: EIO there, one line in the log, and nothing anywhere else.
func TestHandlerPanic(t *testing.T) {
	rights.Require(t, rights.FUSE)
	var log bytes.Buffer
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 7, testVMs(2)...))
	path := filepath.Join(t.TempDir(), "tree")
	s, err := Mount(tree, Options{Path: path, Procfs: "/proc", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	serveUntilCleanup(t, s)
	present := tree.state.Load()
	// The index knows two VMs.
	tree.state.Store(&state{shape: present.shape, names: present.names, vms: present.vms[:1]})
	for range 3 {
		if err := unix.Stat(filepath.Join(path, "vm1"), new(unix.Stat_t)); !errors.Is(err, unix.EIO) {
			t.Errorf("%v, want EIO", err)
		}
		if got := readFile(t, path, "vm0/intel-rapl:0/energy_uj"); got != "7\n" {
			t.Errorf("the other VM: %q", got)
		}
	}
	if tree.Panics() != 3 {
		t.Errorf("%d panics counted, want 3", tree.Panics())
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors logged, want 1:\n%s", n, log.String())
	}
}

// TestReservedName is not a way into the tree: the library answers for this name by itself.
func TestReservedName(t *testing.T) {
	path, _ := serve(t, published(t))
	if err := unix.Lstat(filepath.Join(path, goFuseProbe), new(unix.Stat_t)); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v, want ENOENT", err)
	}
}

// TestHostileNames puts them all into one tree: each VM has a directory of its own, directly below the root.
func TestHostileNames(t *testing.T) {
	names := []string{
		"", ".", "..", "../..", "/", "a/b", "a\x00b", "a\nb", ".hidden", "\xff\xfe", "a%2Fb", "web", "web", "Web", "%", "%~",
		strings.Repeat("x", 255), strings.Repeat("x", 256), strings.Repeat("x", 256), strings.Repeat("/", 200), goFuseProbe,
		"web%~" + testUUID(12), "a%00b", "$(reboot)", "*", "-rf", " ", "\u202e", "\\", "a\\040b",
	}
	var vms []VM
	for i, name := range names {
		vm := VM{UUID: testUUID(i), Name: name}
		vm.Energy[energy.Package] = energy.Microjoules(1000 + i)
		vms = append(vms, vm)
	}
	tree := NewTree("test", 0)
	publish(t, tree, Update{At: testTime, VMs: vms})
	path, _ := serve(t, tree)
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(names) {
		t.Errorf("%d directories for %d VMs", len(entries), len(names))
	}
	for i, vm := range vms {
		dir := dirOf(tree, vm.UUID)
		if dir == "" {
			t.Errorf("%q is not shown", vm.Name)
			continue
		}
		if got, want := readFile(t, path, dir, "intel-rapl:0/energy_uj"), fmt.Sprintf("%d\n", 1000+i); got != want {
			t.Errorf("%q in %q: %q, want %q", vm.Name, dir, got, want)
		}
		if got := readFile(t, path, dir, "scaph/uuid"); got != vm.UUID+"\n" {
			t.Errorf("%q in %q: UUID %q", vm.Name, dir, got)
		}
	}
}

// TestManyReaders has 16 goroutines read 500 VMs while all is published anew, VMs come and go, and names change.
func TestManyReaders(t *testing.T) {
	tree := NewTree("test", 0)
	all := testVMs(500)
	publish(t, tree, update(testTime, 1, all...))
	path, _ := serve(t, tree)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			buf := make([]byte, 64)
			last := make([]uint64, len(all))
			for j := i; ; j = (j + 7) % len(all) {
				select {
				case <-stop:
					return
				default:
				}
				v, err := readValue(filepath.Join(path, fmt.Sprintf("vm%d", j), "intel-rapl:0/energy_uj"), -1, buf)
				switch {
				case err == nil && v < last[j]:
					t.Errorf("vm%d decreased from %d to %d", j, last[j], v)
				case err == nil:
					last[j] = v
				case j >= 400 && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)): // those that come and go
				default:
					t.Errorf("vm%d: %v", j, err)
				}
			}
		})
	}
	before := tree.Reads()
	for i := 2; tree.Reads() < before+3000; i++ {
		shown := all
		if i%3 == 0 {
			shown = all[:400+i%100]
		}
		publish(t, tree, update(testTime, energy.Microjoules(i), shown...))
	}
	close(stop)
	wg.Wait()
}

// TestDrain stops a server under load: all requests taken are answered, those after wait for the successor.
func TestDrain(t *testing.T) {
	store := fdstore.Start(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "tree")
	epoch := testTime
	c := startChild(t, store, path, epoch)
	r := startReaders(t, path, 8)
	for range 5 {
		target := r.count() + 100
		poll(t, "reads", func() bool { return r.count() >= target })
		c.end(t, unix.SIGTERM)
		// No successor yet: the mount is there, and who asks waits.
		if !mounted("/proc", path) {
			t.Fatal("unmounted although it is in the store")
		}
		c = startChild(t, store, path, epoch)
	}
	r.finish(t)
	if len(r.failures) > 0 {
		t.Error(r.failures[0])
	}
	c.end(t, unix.SIGTERM)
	if _, err := Unmount(options(t, path)); err != nil {
		t.Error(err)
	}
}

// TestDrainLeavesNothing has a successor that does not ask for requests to be sent again, as before Linux 6.9:
// a server that was stopped in an orderly way has answered all that it took.
func TestDrainLeavesNothing(t *testing.T) {
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 7, testVMs(3)...))
	path := filepath.Join(t.TempDir(), "tree")
	s, err := Mount(tree, options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	prime(t, path)
	r := startReaders(t, path, 8)
	for range 20 {
		target := r.count() + 20
		poll(t, "reads", func() bool { return r.count() >= target })
		cancel()
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		d, err := adopt(s.device.file)
		if err != nil {
			t.Fatal(err)
		}
		next := newServer(tree, options(t, path), d, path)
		next.init = s.init
		if _, status := next.handler.HandleRequest([][]byte{s.init}, [][]byte{make([]byte, replyMax)}); !status.Ok() {
			t.Fatal(status)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		s = next
		ctx, cancel = context.WithCancel(t.Context())
		go func() { served <- next.Serve(ctx) }()
	}
	r.finish(t)
	cancel()
	if err := errors.Join(<-served, s.Unmount()); err != nil {
		t.Error(err)
	}
	if len(r.failures) > 0 {
		t.Error(r.failures[0])
	}
}

// TestZoneVanishes takes a kind of zone away: its files go, those of the others stay what they were.
func TestZoneVanishes(t *testing.T) {
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 7, testVMs(1)...))
	path, _ := serve(t, tree)
	open := func(zone string) int {
		fd, err := unix.Open(filepath.Join(path, "vm0", zone, "energy_uj"), unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	dir, err := unix.Open(filepath.Join(path, "vm0/intel-rapl:0:0"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	core, dram := open("intel-rapl:0:0"), open("intel-rapl:0:1")
	u := update(testTime, 8, testVMs(1)...)
	u.Kinds = energy.KindsOf(energy.DRAM, energy.Psys)
	publish(t, tree, u)
	buf := make([]byte, 20)
	if _, err := unix.Pread(core, buf, 0); !errors.Is(err, unix.ENODEV) {
		t.Errorf("held core: %v, want ENODEV", err)
	}
	if _, err := unix.ReadDirent(dir, make([]byte, 1000)); !errors.Is(err, unix.ENOENT) {
		t.Errorf("held directory of core: %v, want ENOENT", err)
	}
	if n, err := unix.Pread(dram, buf, 0); err != nil || string(buf[:n]) != "8\n" {
		t.Errorf("held dram: %q, %v", buf[:max(n, 0)], err)
	}
	if got := readFile(t, path, "vm0/intel-rapl:0:0/name"); got != "dram\n" {
		t.Errorf("the first zone inside the package is %q", got)
	}
	if _, err := os.Lstat(filepath.Join(path, "vm0/intel-rapl:0:1")); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v, want ENOENT", err)
	}
}
