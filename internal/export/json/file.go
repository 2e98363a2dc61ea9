package json

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const arrayEnd = "\n]\n"

// A file is one that reports are added to. Others may truncate it, or move it away as logrotate does, at any time.
type file struct {
	path   string
	array  bool
	rotate Rotate

	f    *os.File  // nil: not open
	size int64     // all of it is whole
	last time.Time // when it was written
}

// examine finds out whether the file can be written, and leaves everything as it is.
func (f *file) examine() error {
	opened, err := os.OpenFile(f.path, os.O_RDWR|unix.O_NONBLOCK, 0) // a FIFO without a writer would not be opened else
	if errors.Is(err, fs.ErrNotExist) {
		if err := unix.Access(filepath.Dir(f.path), unix.W_OK|unix.X_OK); err != nil {
			return fmt.Errorf("its directory cannot be written: %w", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer opened.Close()
	_, _, err = whole(opened, f.array)
	return err
}

// write adds a report.
func (f *file) write(at time.Time, report []byte) error {
	if err := f.open(); err != nil {
		return err
	}
	text := f.text(report)
	var rotation error // a file that cannot be set aside grows: no report is lost for that
	if f.isDue(at, int64(len(text))) {
		if err := f.setAside(at); err != nil {
			rotation = fmt.Errorf("rotate: %w", err)
		}
		if err := f.open(); err != nil {
			return errors.Join(rotation, err)
		}
		text = f.text(report)
	}
	from := f.size
	if f.array && f.size > 0 {
		from -= int64(len(arrayEnd))
	}
	if _, err := f.f.WriteAt(text, from); err != nil {
		return errors.Join(err, f.takeBack(from))
	}
	f.size, f.last = from+int64(len(text)), at
	return rotation
}

// text is what is written for a report: for an array, from its end on, which it takes the place of.
func (f *file) text(report []byte) []byte {
	var text []byte
	switch {
	case !f.array:
		return append(append(text, report...), '\n')
	case f.size > 0:
		text = append(text, ",\n"...)
	default:
		text = append(text, "[\n"...)
	}
	return append(append(text, report...), arrayEnd...)
}

// takeBack restores the file to what it was before a write that failed. The blocks that it takes are there. If it fails
// nevertheless, the file is looked through before the next report.
func (f *file) takeBack(from int64) error {
	err := f.f.Truncate(f.size)
	if err == nil && from < f.size {
		_, err = f.f.WriteAt([]byte(arrayEnd), from)
	}
	if err != nil {
		return errors.Join(err, f.close())
	}
	return nil
}

// open has the file open that is at the path now, and cuts off what is not whole.
func (f *file) open() error {
	if f.f != nil {
		own, err := f.f.Stat()
		if err == nil {
			var there fs.FileInfo
			if there, err = os.Stat(f.path); err == nil && os.SameFile(own, there) && own.Size() == f.size {
				return nil
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := f.close(); err != nil {
			return err
		}
	}
	opened, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return err
	}
	end, size, err := whole(opened, f.array)
	if err == nil && (end != size || f.array && end > 0) {
		err = f.cut(opened, end)
		if f.array && end > 0 {
			end += int64(len(arrayEnd))
		}
	}
	info, statErr := opened.Stat()
	if err = errors.Join(err, statErr); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", f.path, err), opened.Close())
	}
	f.f, f.size = opened, end
	if f.last.IsZero() {
		f.last = info.ModTime()
	}
	return nil
}

// cut ends a file after its last whole report.
func (f *file) cut(opened *os.File, end int64) error {
	if f.array && end > 0 {
		tail := make([]byte, len(arrayEnd)+1)
		n, err := opened.ReadAt(tail, end)
		if errors.Is(err, io.EOF) && string(tail[:n]) == arrayEnd {
			return nil
		}
		if _, err := opened.WriteAt([]byte(arrayEnd), end); err != nil {
			return err
		}
		end += int64(len(arrayEnd))
	}
	return opened.Truncate(end)
}

func (f *file) close() error {
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f, f.last = nil, time.Time{}
	return err
}
