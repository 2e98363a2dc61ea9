package vmmap

import (
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

// A fileReader reads small files of /proc, one after the other, into the same memory: a full look reads one of each
// process, and what os.ReadFile takes for that would be most of what the program leaves to the garbage collector.
// For use by one goroutine.
type fileReader struct{ memory []byte }

// read gives a whole file. The bytes are good until the next read.
func (r *fileReader) read(path string) ([]byte, error) {
	fd, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }() // opened for reading: nothing to lose
	r.memory = r.memory[:0]
	for {
		r.memory = slices.Grow(r.memory, 512)
		n, err := unix.Read(fd, r.memory[len(r.memory):cap(r.memory)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return r.memory, nil
		default:
			r.memory = r.memory[:len(r.memory)+n]
		}
	}
}

func openFile(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		switch err {
		case nil:
			return fd, nil
		case unix.EINTR:
		default:
			return -1, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}
