package rapl

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// files is the file system as the reader uses it; tests put one that fails in its place.
type files interface {
	list(dir string) ([]string, error) // names of the entries, sorted
	open(path string) (fd int, err error)
	pread(fd int, p []byte) (int, error) // at offset 0
	unlinked(fd int) bool                // no directory names the file any more
	close(fd int)
}

// system is the real one. It calls the kernel directly, because os.File.ReadAt reads on until it
// sees the end of the file, and each further pread of energy_uj would make the kernel ask the CPU again.
type system struct{}

func (system) list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

func (system) open(path string) (int, error) {
	for {
		// O_NONBLOCK: opening a FIFO that stands where a file should be must not hang.
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func (system) pread(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Pread(fd, p, 0)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}

func (system) unlinked(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Nlink == 0
}

func (system) close(fd int) { _ = unix.Close(fd) } // opened for reading: nothing to lose
