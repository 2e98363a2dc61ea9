package proc

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openDir opens a /proc until the end of the test.
func openDir(t *testing.T, path string) *Dir {
	t.Helper()
	d := NewDir(Kernel{}, path)
	if err := d.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestDirReadFile(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "7", "file")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	d := openDir(t, root)
	for _, size := range []int{100_000, 0, 1, 32<<10 - 1, 32 << 10, 32<<10 + 1, 100_001} {
		want := bytes.Repeat([]byte{byte(size)}, size)
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := d.ReadFile(7, "file"); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of %d, %v", len(got), size, err)
		}
	}
	var failed *fs.PathError
	if _, err := d.ReadFile(7, "files"); !IsGone(err) || !errors.As(err, &failed) || failed.Path != path+"s" {
		t.Errorf("a file that does not exist: %v", err)
	}
	if _, err := d.ReadFile(0, "7"); err == nil || IsGone(err) {
		t.Errorf("a directory: %v", err)
	}
	if allocations := testing.AllocsPerRun(100, func() { _, _ = d.ReadFile(7, "file") }); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

// A Dir sees this process as the kernel does, by each way that it has.
func TestDirOfThisMachine(t *testing.T) {
	d := openDir(t, "/proc")
	self := int32(os.Getpid())
	pids, err := d.PIDs(nil)
	if err != nil || !slices.Contains(pids, self) || !slices.IsSorted(pids) || len(slices.Compact(slices.Clone(pids))) != len(pids) {
		t.Errorf("%v, %v", pids, err)
	}
	comm, err := d.ReadFile(self, "comm")
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(string(comm), "\n")
	s, err := d.Stat(self)
	if err != nil || s.PID != self || s.Parent != int32(os.Getppid()) || string(s.Comm) != name || s.Kernel || s.Threads < 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if s.Image() == 0 {
		t.Error("no image")
	}
	var used unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &used); err != nil {
		t.Fatal(err)
	}
	if s.CPUTime > uint64(used.Nano())+uint64(time.Second) {
		t.Errorf("%d ns, its clock says %d", s.CPUTime, used.Nano())
	}
	tids, err := d.Threads(nil, self)
	if err != nil || !slices.Contains(tids, self) {
		t.Errorf("%v, %v", tids, err)
	}
	if thread, err := d.ThreadStat(self, self); err != nil || thread.ID != s.ID {
		t.Errorf("%+v, %v", thread, err)
	}
	if BootID("/proc") == "" {
		t.Error("no boot id")
	}
	if d.Close(); d.Open() != nil {
		t.Error("cannot be opened again")
	}
	if _, err := d.Stat(self); err != nil {
		t.Error(err)
	}
}

func TestDirThatIsNoProcfs(t *testing.T) {
	if err := NewDir(Kernel{}, filepath.Join(t.TempDir(), "none")).Open(); !IsGone(err) {
		t.Errorf("opened what is not there: %v", err)
	}
	root := t.TempDir()
	d := openDir(t, root)
	if pids, err := d.PIDs(nil); len(pids) != 0 || err != nil {
		t.Errorf("listed %v, %v", pids, err)
	}
	if BootID(root) != "" {
		t.Error("a boot id of nothing")
	}
	if _, err := d.Stat(1); !IsGone(err) {
		t.Errorf("process 1: %v", err)
	}
}
