package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Dir is a /proc. It reads into memory of its own, again and again: what it returns of a file is
// good until the next read, and reading allocates nothing. For use by one goroutine.
type Dir struct {
	files Files
	path  string
	fd    int
	buf   []byte
	name  []byte // path under construction, ends in a NUL
}

// NewDir returns the mount point of a procfs, usually /proc. It is to be opened, and may be again
// after it was closed.
func NewDir(files Files, path string) *Dir {
	return &Dir{files: files, path: path, fd: -1, buf: make([]byte, 32<<10)}
}

// Open opens it.
func (d *Dir) Open() error {
	fd, err := d.files.Open(unix.AT_FDCWD, append([]byte(d.path), 0))
	if err != nil {
		return fmt.Errorf("open %s: %w", d.path, err)
	}
	d.fd = fd
	return nil
}

// Path returns where it was opened.
func (d *Dir) Path() string { return d.path }

// Close closes it.
func (d *Dir) Close() { d.files.Close(d.fd) }

// PIDs lists the processes, ascending, in the memory of pids.
func (d *Dir) PIDs(pids []int32) ([]int32, error) {
	pids, err := d.list(pids[:0], d.fd)
	if err != nil {
		return pids, err
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// Threads lists the threads of a process, in the kernel's order and in the memory of tids.
func (d *Dir) Threads(tids []int32, pid int32) ([]int32, error) {
	d.below(pid, "task")
	fd, err := d.files.Open(d.fd, d.name)
	if err != nil {
		return tids[:0], err
	}
	defer d.files.Close(fd)
	return d.list(tids[:0], fd)
}

func (d *Dir) list(numbers []int32, fd int) ([]int32, error) {
	if err := d.files.Rewind(fd); err != nil {
		return numbers, err
	}
	for {
		n, err := d.files.List(fd, d.buf)
		if err != nil || n == 0 {
			return numbers, err
		}
		if numbers, err = numbersIn(numbers, d.buf[:n]); err != nil {
			return numbers, err
		}
	}
}

// below makes the path of a file of a process.
func (d *Dir) below(pid int32, file string) {
	d.name = strconv.AppendInt(d.name[:0], int64(pid), 10)
	d.name = append(d.name, '/')
	d.name = append(d.name, file...)
	d.name = append(d.name, 0)
}

// OpenStat opens /proc/PID/stat, to be read with ReadStat and closed with CloseStat. The descriptor
// belongs to one process: when that has ended, a read answers ESRCH, and the id may be another's.
func (d *Dir) OpenStat(pid int32) (fd int, err error) {
	d.below(pid, "stat")
	return d.files.Open(d.fd, d.name)
}

// ReadStat reads an open stat file anew.
func (d *Dir) ReadStat(fd int) (Stat, error) {
	n, err := d.files.Read(fd, d.buf, 0)
	if err != nil {
		return Stat{}, err
	}
	s, ok := ParseStat(d.buf[:n])
	if !ok {
		return Stat{}, ErrMalformed
	}
	return s, nil
}

// CloseStat closes what OpenStat opened.
func (d *Dir) CloseStat(fd int) { d.files.Close(fd) }

// Stat reads /proc/PID/stat.
func (d *Dir) Stat(pid int32) (Stat, error) {
	d.below(pid, "stat")
	return d.stat()
}

// ThreadStat reads /proc/PID/task/TID/stat.
func (d *Dir) ThreadStat(pid, tid int32) (Stat, error) {
	d.below(pid, "task/")
	d.name = strconv.AppendInt(d.name[:len(d.name)-1], int64(tid), 10)
	d.name = append(d.name, "/stat\x00"...)
	return d.stat()
}

// stat reads the stat file that d.name names.
func (d *Dir) stat() (Stat, error) {
	fd, err := d.files.Open(d.fd, d.name)
	if err != nil {
		return Stat{}, err
	}
	defer d.files.Close(fd)
	return d.ReadStat(fd)
}

// ReadFile reads the whole of a file below /proc/PID, or of /proc where pid is 0.
func (d *Dir) ReadFile(pid int32, file string) ([]byte, error) {
	if pid != 0 {
		d.below(pid, file)
	} else {
		d.name = append(append(d.name[:0], file...), 0)
	}
	fd, err := d.files.Open(d.fd, d.name)
	if err != nil {
		return nil, d.failed("open", err)
	}
	defer d.files.Close(fd)
	for n := 0; ; {
		if n == len(d.buf) {
			d.buf = append(d.buf, make([]byte, len(d.buf))...)
		}
		got, err := d.files.Read(fd, d.buf[n:], int64(n))
		if err != nil {
			return nil, d.failed("read", err)
		}
		if got == 0 {
			return d.buf[:n], nil
		}
		n += got
	}
}

// failed says on which file what failed.
func (d *Dir) failed(what string, err error) error {
	return &fs.PathError{Op: what, Path: filepath.Join(d.path, string(d.name[:len(d.name)-1])), Err: err}
}

// IsGone reports whether a file of a process could not be read because that has ended.
func IsGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}
