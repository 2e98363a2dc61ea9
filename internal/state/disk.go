package state

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// A disk is the system calls that put a file where a power cut cannot reach it. Tests have one of their own, which
// knows what a power cut leaves.
type disk interface {
	create(path string) (diskFile, error) // empty, whatever was there
	rename(from, to string) error
	openDir(path string) (diskFile, error)
}

type diskFile interface {
	io.WriteCloser
	Sync() error
}

type system struct{}

func (system) create(path string) (diskFile, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

func (system) rename(from, to string) error { return os.Rename(from, to) }

func (system) openDir(path string) (diskFile, error) { return os.Open(path) }

// replaceDurably replaces a file in one step. When it returns nil, the new content is there for good; after an
// error, or a power cut at any moment, the old one or the new one is.
func replaceDurably(d disk, path string, b []byte) error {
	f, err := d.create(path + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := d.rename(path+".new", path); err != nil {
		return err
	}
	dir, err := d.openDir(filepath.Dir(path)) // the rename is the directory's
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
