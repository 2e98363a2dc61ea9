package proc

import (
	"encoding/binary"
	"errors"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Files is what is asked of the kernel: few calls, so that tests can make each of them fail, and none
// that allocates.
type Files interface {
	// Open opens path, which ends in a NUL, below the directory dir for reading.
	Open(dir int, path []byte) (fd int, err error)
	// Read reads from the start of the file plus offset.
	Read(fd int, b []byte, offset int64) (int, error)
	// List reads directory entries, struct linux_dirent64 of getdents64(2), from where it stopped.
	List(fd int, b []byte) (int, error)
	// Rewind makes List begin anew.
	Rewind(fd int) error
	Close(fd int)
}

// Kernel is the real one.
type Kernel struct{}

// Open is openat(2). unix.Openat would copy the path to the heap.
func (Kernel) Open(dir int, path []byte) (int, error) {
	for {
		name := unsafe.Pointer(unsafe.SliceData(path)) //nolint:gosec // as package unix does it
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(name),
			unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
			continue
		}
		return -1, errno
	}
}

// Read is pread(2).
func (Kernel) Read(fd int, b []byte, offset int64) (int, error) {
	for {
		n, err := unix.Pread(fd, b, offset)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// List is getdents64(2).
func (Kernel) List(fd int, b []byte) (int, error) { return unix.Getdents(fd, b) }

// Rewind is lseek(2).
func (Kernel) Rewind(fd int) error {
	_, err := unix.Seek(fd, 0, io.SeekStart)
	return err
}

// Close is close(2). What was opened for reading loses nothing by an error of it.
func (Kernel) Close(fd int) { _ = unix.Close(fd) }

// ErrMalformed says that the kernel gave something that cannot be what was asked for.
var ErrMalformed = errors.New("malformed")

// Offsets in struct linux_dirent64, getdents64(2).
const (
	direntLength = 16 // u16: length of the entry
	direntName   = 19 // the name, ended by a NUL
)

// numbersIn appends the numeric names among the directory entries in b: process or thread ids.
func numbersIn(numbers []int32, b []byte) ([]int32, error) {
	for len(b) > 0 {
		if len(b) <= direntName {
			return numbers, ErrMalformed
		}
		length := int(binary.NativeEndian.Uint16(b[direntLength:]))
		if length <= direntName || length > len(b) {
			return numbers, ErrMalformed
		}
		if n, ok := leadingNumber(b[direntName:length]); ok {
			numbers = append(numbers, n)
		}
		b = b[length:]
	}
	return numbers, nil
}

// leadingNumber parses a NUL-terminated name that is all digits and a positive int32.
func leadingNumber(name []byte) (int32, bool) {
	n, rest, ok := CutNumber(name)
	if !ok || len(rest) == 0 || rest[0] != 0 || n == 0 || n > 1<<31-1 {
		return 0, false
	}
	return int32(n), true
}

// CutNumber takes a decimal number of at most 19 digits off the front of b.
func CutNumber(b []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && i < 19 && '0' <= b[i] && b[i] <= '9' {
		n = n*10 + uint64(b[i]-'0')
		i++
	}
	if i == 0 || (i < len(b) && '0' <= b[i] && b[i] <= '9') {
		return 0, b, false
	}
	return n, b[i:], true
}
