// Package writes tries everything that would change a directory tree and reports how each attempt was refused.
//
// The same code runs on the host (called by the judge) and in the guests (called by the probe).
package writes

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Done is reported for an attempt that was not refused.
const Done = "done"

// Numbers of ioctl(2) requests that hand data in.
const (
	setFlags = 0x40086602 // FS_IOC_SETFLAGS, linux/fs.h: chattr(1)
	ofNobody = 0x40047301 // _IOW('s', 1, int), which nothing implements
)

// Try makes each attempt once, in a directory and on a file and a subdirectory of it, and gives the name of the error
// (EROFS, …) by the name of the attempt. What is not refused is done, so this is for trees that refuse.
func Try(dir, file, subdirectory string) (map[string]string, error) {
	fresh, path, sub := filepath.Join(dir, "attempt"), filepath.Join(dir, file), filepath.Join(dir, subdirectory)
	held, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(held)
	again := "/proc/self/fd/" + strconv.Itoa(held)
	open := func(path string, flags int) error {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	}
	attempts := map[string]func() error{
		"create":            func() error { return open(fresh, unix.O_CREAT|unix.O_WRONLY) },
		"create nameless":   func() error { return open(dir, unix.O_TMPFILE|unix.O_RDWR) },
		"open to write":     func() error { return open(path, unix.O_WRONLY) },
		"open to append":    func() error { return open(path, unix.O_WRONLY|unix.O_APPEND) },
		"open to truncate":  func() error { return open(path, unix.O_RDONLY|unix.O_TRUNC) },
		"reopen to write":   func() error { return open(again, unix.O_RDWR) },
		"write held":        func() error { _, err := unix.Write(held, []byte("0\n")); return err },
		"pwrite held":       func() error { _, err := unix.Pwrite(held, []byte("0\n"), 0); return err },
		"ftruncate held":    func() error { return unix.Ftruncate(held, 0) },
		"fallocate held":    func() error { return unix.Fallocate(held, 0, 0, 1<<20) },
		"mmap to write":     func() error { return mapToWrite(held) },
		"truncate":          func() error { return unix.Truncate(path, 0) },
		"unlink":            func() error { return unix.Unlink(path) },
		"rmdir":             func() error { return unix.Rmdir(sub) },
		"mkdir":             func() error { return unix.Mkdir(fresh, 0o755) },
		"mknod device":      func() error { return unix.Mknod(fresh, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) },
		"mknod pipe":        func() error { return unix.Mknod(fresh, unix.S_IFIFO|0o666, 0) },
		"symlink":           func() error { return unix.Symlink("/etc", fresh) },
		"link":              func() error { return unix.Link(path, fresh) },
		"rename":            func() error { return unix.Rename(path, fresh) },
		"rename directory":  func() error { return unix.Rename(sub, fresh) },
		"chmod":             func() error { return unix.Chmod(path, 0o666) },
		"fchmod held":       func() error { return unix.Fchmod(held, 0o666) },
		"chown":             func() error { return unix.Chown(path, 65534, 65534) },
		"utimes":            func() error { return unix.Utimes(path, []unix.Timeval{{}, {}}) },
		"setxattr user":     func() error { return unix.Setxattr(path, "user.attempt", []byte("x"), 0) },
		"setxattr security": func() error { return unix.Setxattr(path, "security.attempt", []byte("x"), 0) },
		"removexattr":       func() error { return unix.Removexattr(path, "user.attempt") },
		"ioctl of chattr":   func() error { return unix.IoctlSetPointerInt(held, setFlags, 0x10) },
		"ioctl of nobody":   func() error { return unix.IoctlSetPointerInt(held, ofNobody, 1) },
	}
	report := make(map[string]string, len(attempts))
	for what, attempt := range attempts {
		report[what] = name(attempt())
	}
	return report, nil
}

// mapToWrite maps a page of a file so that what is written there would reach the file.
func mapToWrite(fd int) error {
	page, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err == nil {
		_ = unix.Munmap(page)
	}
	return err
}

// name gives the name of an error of a system call.
func name(err error) string {
	if err == nil {
		return Done
	}
	var number syscall.Errno
	if !errors.As(err, &number) {
		return err.Error()
	}
	return unix.ErrnoName(number)
}
