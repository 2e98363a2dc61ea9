package vfs

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/rights"
)

// TestStackedStaleMounts clears away several mounts at once that nobody serves any more.
func TestStackedStaleMounts(t *testing.T) {
	rights.Require(t, rights.FUSE)
	path := makeDir(t, filepath.Join(t.TempDir(), "tree"))
	for range 3 {
		d, err := openDevice()
		if err != nil {
			t.Fatal(err)
		}
		data := "rootmode=40000,user_id=0,group_id=0,fd=" + strconv.Itoa(d.fd)
		if err := unix.Mount(mountSource, path, mountType, 0, data); err != nil {
			t.Fatal(err)
		}
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
	}
	if mounts, err := mountsAt("/proc", path); len(mounts) != 3 || err != nil {
		t.Fatalf("%d mounts, %v", len(mounts), err)
	}
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 7, testVMs(1)...))
	s, err := Mount(tree, options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	serveUntilCleanup(t, s)
	if mounts, err := mountsAt("/proc", path); len(mounts) != 1 || err != nil {
		t.Errorf("%d mounts, %v", len(mounts), err)
	}
	if got := readFile(t, path, "vm0/intel-rapl:0/energy_uj"); got != "7\n" {
		t.Errorf("%q", got)
	}
}

func makeDir(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestForeignMount leaves somebody else's mount alone, above and below.
func TestForeignMount(t *testing.T) {
	rights.Require(t, rights.FUSE)
	path := makeDir(t, filepath.Join(t.TempDir(), "tree"))
	if err := unix.Mount("other", path, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Error(err)
		}
	})
	if _, err := Mount(NewTree("test", 0), options(t, path)); err == nil || !strings.Contains(err.Error(), "already a mount of other (type tmpfs)") {
		t.Errorf("mount: %v", err)
	}
	if n, err := Unmount(options(t, path)); n != 0 || err == nil {
		t.Errorf("unmount: %d, %v", n, err)
	}
}

// TestServedElsewhere refuses to take a mount from a process that serves it.
func TestServedElsewhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tree")
	c := startChild(t, nil, path, time.Now())
	if _, err := Mount(NewTree("test", 0), options(t, path)); !errors.Is(err, ErrServed) {
		t.Errorf("%v, want ErrServed", err)
	}
	c.end(t, unix.SIGTERM)
}

// TestHeldMount leaves a mount alone whose descriptor somebody holds, though nobody serves it now: asking it anything
// blocks. Once the descriptor is closed it is stale, and gives way.
func TestHeldMount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tree")
	old, err := Mount(NewTree("test", 0), options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Mount(NewTree("test", 0), options(t, path)); !errors.Is(err, ErrHeld) {
		t.Fatalf("%v, want ErrHeld", err)
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	s, err := Mount(NewTree("test", 0), options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unmount(); err != nil {
		t.Error(err)
	}
	if mounted("/proc", path) {
		t.Error("still mounted")
	}
}

func TestMountPoint(t *testing.T) {
	rights.Require(t, rights.FUSE)
	tree := NewTree("test", 0)
	dir := t.TempDir()

	t.Run("missing", func(t *testing.T) {
		s, err := Mount(tree, options(t, filepath.Join(dir, "a/b/c")))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Unmount(); err != nil {
			t.Error(err)
		}
	})
	t.Run("missing, with the umask of a service", func(t *testing.T) {
		there := filepath.Join(dir, "there")
		if err := os.Mkdir(there, 0o710); err != nil {
			t.Fatal(err)
		}
		before := unix.Umask(0o077)
		s, err := Mount(tree, options(t, filepath.Join(there, "made/made too/tree")))
		unix.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Unmount(); err != nil { // what is below it is looked at
			t.Error(err)
		}
		for path, want := range map[string]os.FileMode{"": 0o710, "made": 0o755, "made/made too": 0o755, "made/made too/tree": 0o755} {
			info, err := os.Stat(filepath.Join(there, path))
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: %v, %v; want %v", filepath.Join(there, path), info.Mode().Perm(), err, want)
			}
		}
	})
	t.Run("below a symlink", func(t *testing.T) {
		makeDir(t, filepath.Join(dir, "real"))
		if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		s, err := Mount(tree, options(t, filepath.Join(dir, "link/tree")))
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(dir, "real/tree"); s.Path() != want || !mounted("/proc", want) {
			t.Errorf("at %s, want %s", s.Path(), want)
		}
		if n, err := Unmount(options(t, filepath.Join(dir, "link/tree"))); n != 1 || err != nil {
			t.Errorf("unmounted %d, %v", n, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("with spaces", func(t *testing.T) {
		s, err := Mount(tree, options(t, filepath.Join(dir, "one two\tthree\\four")))
		if err != nil {
			t.Fatal(err)
		}
		if !mounted("/proc", s.Path()) {
			t.Error("not found in mountinfo")
		}
		if err := s.Unmount(); err != nil {
			t.Error(err)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		ro := makeDir(t, filepath.Join(dir, "ro"))
		if err := unix.Mount("tmpfs", ro, "tmpfs", unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Unmount(ro, 0); err != nil {
				t.Error(err)
			}
		}()
		_, err := Mount(tree, options(t, filepath.Join(ro, "tree")))
		if err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a file", func(t *testing.T) {
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{file, filepath.Join(file, "tree"), "/"} {
			if _, err := Mount(tree, options(t, path)); err == nil {
				t.Errorf("mounted at %s", path)
			}
		}
	})
	t.Run("a dangling symlink", func(t *testing.T) {
		link := filepath.Join(dir, "dangling")
		if err := os.Symlink("nowhere", link); err != nil {
			t.Fatal(err)
		}
		if _, err := Mount(tree, options(t, link)); err == nil {
			t.Error("mounted")
		}
	})
}

// TestBusyUnmount takes the mount away from under a reader, who keeps what it holds until the server ends.
func TestBusyUnmount(t *testing.T) {
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 7, testVMs(1)...))
	path, _ := serve(t, tree)
	held, err := unix.Open(filepath.Join(path, "vm0/intel-rapl:0/energy_uj"), unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(held)
	if n, err := Unmount(options(t, path)); n != 1 || err != nil {
		t.Errorf("unmounted %d, %v", n, err)
	}
	if mounted("/proc", path) {
		t.Error("still mounted")
	}
	buf := make([]byte, 20)
	if n, err := unix.Pread(held, buf, 0); err != nil || string(buf[:n]) != "7\n" {
		t.Errorf("held file: %q, %v", buf[:max(n, 0)], err)
	}
}

// TestUnmountEndsServe tells the caller why there is nothing to serve any more.
func TestUnmountEndsServe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tree")
	s, err := Mount(published(t), options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context()) }()
	if _, err := Unmount(options(t, path)); err != nil {
		t.Fatal(err)
	}
	if err := <-served; !errors.Is(err, ErrUnmounted) {
		t.Errorf("%v, want ErrUnmounted", err)
	}
	h := s.Handover()
	if _, err := Resume(NewTree("test", 0), Handover{Device: dup(t, h.Device), State: h.State}, options(t, path)); !errors.Is(err, ErrIncompatible) {
		t.Errorf("resume of an unmounted tree: %v", err)
	}
	// Another mount is at the path by now: the old connection still is no use.
	other, err := Mount(NewTree("test", 0), options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(NewTree("test", 0), Handover{Device: dup(t, h.Device), State: h.State}, options(t, path)); !errors.Is(err, ErrUnmounted) {
		t.Errorf("resume of an unmounted tree: %v", err)
	}
	if err := errors.Join(other.Unmount(), s.Close()); err != nil {
		t.Error(err)
	}
}

func dup(t *testing.T, f *os.File) *os.File {
	t.Helper()
	var fd int
	err := withDescriptor(f, func(own int) (err error) {
		fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "dup")
}

// TestResumeRefuses what another build, or another configuration, left.
func TestResumeRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tree")
	s, err := Mount(NewTree("test", 0), options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Unmount(); err != nil {
			t.Error(err)
		}
	}()
	good := string(s.Handover().State)
	for what, state := range map[string]string{
		"another build":  strings.Replace(good, `"abi":1`, `"abi":0`, 1),
		"another place":  strings.Replace(good, "/tree", "/elsewhere", 1),
		"garbage":        "\x00\xff",
		"nothing":        "",
		"no INIT":        `{"abi":1,"path":"` + path + `"}`,
		"a stunted INIT": `{"abi":1,"path":"` + path + `","init":"AAAA"}`,
	} {
		h := Handover{Device: dup(t, s.Handover().Device), State: []byte(state)}
		if _, err := Resume(NewTree("test", 0), h, options(t, path)); !errors.Is(err, ErrIncompatible) {
			t.Errorf("%s: %v, want ErrIncompatible", what, err)
		}
	}
}

// TestConnectionAbort is what an administrator's last resort looks like from the server.
func TestConnectionAbort(t *testing.T) {
	rights.Require(t, rights.FUSE)
	control := makeDir(t, filepath.Join(t.TempDir(), "control"))
	if err := unix.Mount("fusectl", control, "fusectl", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(control, 0); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(t.TempDir(), "tree")
	tree := published(t)
	s, err := Mount(tree, options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context()) }()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	abort := filepath.Join(control, strconv.Itoa(int(unix.Minor(st.Dev))), "abort")
	if err := os.WriteFile(abort, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if err := <-served; !errors.Is(err, ErrAborted) {
		t.Errorf("%v, want ErrAborted", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	// The program's answer is a new mount.
	s, err = Mount(tree, options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unmount(); err != nil {
		t.Error(err)
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n")
	f.Add("36 35 0:50 / /var/lib/a\\040b ro - fuse.scaph scaph ro\nbroken - \n \\ - \\04\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseMountinfo(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.point == "" || e.fstype == "" {
				t.Errorf("empty field in %+v", e)
			}
		}
	})
}
