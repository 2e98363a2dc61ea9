package vfs

import (
	"errors"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// writes are all the ways to change something in a VM's directory.
func writes(dir string) map[string]func() error {
	file := filepath.Join(dir, "intel-rapl/intel-rapl:0/energy_uj")
	sub := filepath.Join(dir, "scaph")
	fresh := filepath.Join(dir, "new")
	open := func(path string, flags int) func() error {
		return func() error {
			fd, err := unix.Open(path, flags, 0o600)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}
	}
	return map[string]func() error{
		"create":            open(fresh, unix.O_CREAT|unix.O_WRONLY),
		"open for writing":  open(file, unix.O_WRONLY),
		"open for both":     open(file, unix.O_RDWR),
		"open to truncate":  open(file, unix.O_RDONLY|unix.O_TRUNC),
		"open to append":    open(file, unix.O_WRONLY|unix.O_APPEND),
		"temporary file":    open(dir, unix.O_TMPFILE|unix.O_WRONLY),
		"truncate":          func() error { return unix.Truncate(file, 0) },
		"unlink":            func() error { return unix.Unlink(file) },
		"rmdir":             func() error { return unix.Rmdir(sub) },
		"mkdir":             func() error { return unix.Mkdir(fresh, 0o700) },
		"mknod":             func() error { return unix.Mknod(fresh, unix.S_IFREG|0o600, 0) },
		"mkfifo":            func() error { return unix.Mkfifo(fresh, 0o600) },
		"symlink":           func() error { return unix.Symlink("x", fresh) },
		"link":              func() error { return unix.Link(file, fresh) },
		"rename":            func() error { return unix.Rename(file, fresh) },
		"rename VM":         func() error { return unix.Rename(dir, dir+"2") },
		"exchange":          func() error { return unix.Renameat2(0, file, 0, sub+"/uuid", unix.RENAME_EXCHANGE) },
		"chmod":             func() error { return unix.Chmod(file, 0o777) },
		"chown":             func() error { return unix.Chown(file, 1, 1) },
		"utimes":            func() error { return unix.Utimes(file, make([]unix.Timeval, 2)) },
		"setxattr":          func() error { return unix.Setxattr(file, "user.x", []byte("y"), 0) },
		"setxattr trusted":  func() error { return unix.Setxattr(file, "trusted.x", []byte("y"), 0) },
		"removexattr":       func() error { return unix.Removexattr(file, "user.x") },
		"ioctl, file flags": func() error { return ioctl(file, unix.FS_IOC_SETFLAGS) },
		"ioctl, label":      func() error { return ioctl(file, 0x41009432) }, // FS_IOC_SETFSLABEL
		"write": func() error {
			return throughOpen(file, func(fd int) error { _, err := unix.Write(fd, []byte("1")); return err })
		},
		"ftruncate": func() error { return throughOpen(file, func(fd int) error { return unix.Ftruncate(fd, 0) }) },
		"fallocate": func() error { return throughOpen(file, func(fd int) error { return unix.Fallocate(fd, 0, 0, 10) }) },
		"fchmod":    func() error { return throughOpen(file, func(fd int) error { return unix.Fchmod(fd, 0o777) }) },
	}
}

func throughOpen(path string, do func(fd int) error) error {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return do(fd)
}

func ioctl(path string, request uint) error {
	return throughOpen(path, func(fd int) error {
		var argument [256]byte
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(&argument)))
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// TestWritesAsRoot tries everything, on the mount as it is and on one that somebody made writable.
func TestWritesAsRoot(t *testing.T) {
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 7, testVMs(1)...))
	path, _ := serve(t, tree)
	before := describe(t, path)
	for _, mode := range []string{"read-only", "remounted writable"} {
		t.Run(mode, func(t *testing.T) {
			if mode != "read-only" {
				if err := unix.Mount("", path, "", unix.MS_REMOUNT, ""); err != nil {
					t.Fatal(err)
				}
				var st unix.Statfs_t
				if err := unix.Statfs(path, &st); err != nil || st.Flags&unix.ST_RDONLY != 0 {
					t.Fatalf("not remounted: flags %#x, %v", st.Flags, err)
				}
			}
			for what, do := range writes(filepath.Join(path, "vm0")) {
				err := do()
				ok := errors.Is(err, unix.EROFS) || errors.Is(err, unix.EPERM)
				switch what {
				case "write", "ftruncate", "fallocate": // the descriptor is not open for writing
					ok = ok || errors.Is(err, unix.EBADF) || errors.Is(err, unix.EINVAL)
				case "setxattr", "setxattr trusted", "removexattr", "temporary file", "ioctl, file flags", "exchange": // not there at all
					ok = ok || (mode != "read-only" && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL)))
				}
				if !ok {
					t.Errorf("%s: %v, want EROFS", what, err)
				}
			}
			if d := difference(before, describe(t, path)); d != "" {
				t.Errorf("changed:\n%s", d)
			}
		})
	}
}
