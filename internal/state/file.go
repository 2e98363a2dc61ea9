package state

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// A file is one whose whole content is replaced in one step, again and again. It is two files that swap their names
// (renameat2(2) with RENAME_EXCHANGE): the one that nobody reads is written. To make a new file and to
// remove the old one each time would cost several times as much, on a disk most of what a tick costs.
type file struct {
	path    string
	current *os.File // has the path
	spare   *os.File // has the path and ".new"
}

// replace gives the file a new content. After an error it begins anew the next time.
func (f *file) replace(b []byte) error {
	if err := f.writeSpare(b); err != nil {
		return errors.Join(err, f.close())
	}
	if f.current != nil && unix.Renameat2(unix.AT_FDCWD, f.path+".new", unix.AT_FDCWD, f.path, unix.RENAME_EXCHANGE) == nil {
		f.current, f.spare = f.spare, f.current
		return nil
	}
	// For the first time, where somebody has removed one of them, or on a file system that cannot exchange.
	if err := os.Rename(f.path+".new", f.path); err != nil {
		return errors.Join(err, f.close())
	}
	former := f.current
	f.current, f.spare = f.spare, nil
	if former == nil {
		return nil
	}
	return former.Close()
}

func (f *file) writeSpare(b []byte) error {
	if f.spare != nil && !has(f.path+".new", f.spare) {
		err := f.spare.Close()
		if f.spare = nil; err != nil {
			return err
		}
	}
	if f.spare == nil {
		var err error
		if f.spare, err = os.OpenFile(f.path+".new", os.O_WRONLY|os.O_CREATE, 0o600); err != nil {
			return err
		}
	}
	if _, err := f.spare.WriteAt(b, 0); err != nil {
		return err
	}
	return f.spare.Truncate(int64(len(b)))
}

// has tells whether f is still the file with that path: somebody may have put another one there, or none.
func has(path string, f *os.File) bool {
	var there, ours unix.Stat_t
	return unix.Stat(path, &there) == nil && unix.Fstat(int(f.Fd()), &ours) == nil &&
		there.Dev == ours.Dev && there.Ino == ours.Ino
}

func (f *file) close() error {
	var err error
	for _, open := range []*os.File{f.current, f.spare} {
		if open != nil {
			err = errors.Join(err, open.Close())
		}
	}
	f.current, f.spare = nil, nil
	return err
}

// read gives the whole content of a file that may be replaced meanwhile: of one that has the same name after as
// before, and was not written in between.
func read(path string) ([]byte, error) {
	for {
		before, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		after, err := os.Stat(path)
		if err != nil || (os.SameFile(before, after) && before.ModTime().Equal(after.ModTime())) {
			return b, err
		}
	}
}
