package vfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Check returns what keeps Mount from putting the tree at the path, without changing anything: ErrServed or ErrHeld where
// a mount of ours is in use there.
func Check(o Options) error {
	path, err := resolve(o.Path)
	if err != nil {
		return err
	}
	mounts, err := mountsAt(o.Procfs, path)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		err = inTheWay(path, mounts[len(mounts)-1])
	} else {
		err = couldMake(path)
	}
	if err != nil {
		return err
	}
	device, err := openDevice()
	if err != nil {
		return err
	}
	return errors.Join(MayMount(), device.close())
}

// Clear takes away what is left at the path of a mount of ours that nobody serves or holds any more.
func Clear(o Options) error {
	path, err := resolve(o.Path)
	if err != nil {
		return err
	}
	return clearStale(path, o)
}

// couldMake says why a mount point cannot be made at the path, or used where it is there.
func couldMake(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return checkMountPoint(path)
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		err := unix.Access(dir, unix.W_OK|unix.X_OK)
		if errors.Is(err, unix.ENOENT) && dir != "/" {
			continue
		}
		if info, statErr := os.Stat(dir); err == nil && statErr == nil && !info.IsDir() {
			err = unix.ENOTDIR
		}
		if err != nil {
			return fmt.Errorf("tree: mount point %s cannot be made in %s: %w: choose another tree.path", path, dir, err)
		}
		return nil
	}
}

// MayMount returns why this process may not mount and unmount, nil if it may.
func MayMount() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // 32 capabilities each
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("tree: our capabilities: %w", err)
	}
	if sets[unix.CAP_SYS_ADMIN/32].Effective&(1<<(unix.CAP_SYS_ADMIN%32)) == 0 {
		return errors.New("tree: this process may not mount: needs CAP_SYS_ADMIN, or the unit, which mounts before the service starts")
	}
	return nil
}

// At reports whether the tree is mounted at a path, however that is written.
func (s *Server) At(path string) bool {
	resolved, err := resolve(path)
	return err == nil && resolved == s.path
}
