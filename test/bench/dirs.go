package main

import (
	"errors"
	"os"
	"path/filepath"
)

// dirs are where a run keeps its files.
type dirs struct {
	disk   string
	memory string
}

// shm is a tmpfs on every Linux, shm_overview(7). The states of the ticks go there, as they do on a machine whose /run
// is one: on a disk they would cost more than all the rest of a tick.
const shm = "/dev/shm"

func newDirs() (*dirs, error) {
	disk, err := os.MkdirTemp("", "scaph-bench-")
	if err != nil {
		return nil, err
	}
	memory, err := os.MkdirTemp(shm, "scaph-bench-")
	if err != nil {
		return nil, errors.Join(err, os.Remove(disk))
	}
	return &dirs{disk: disk, memory: memory}, nil
}

// run makes the directory of a product's states.
func (d *dirs) run(name string) (string, error) {
	dir := filepath.Join(d.memory, name)
	return dir, os.Mkdir(dir, 0o700)
}

func (d *dirs) remove() error { return errors.Join(os.RemoveAll(d.disk), os.RemoveAll(d.memory)) }
