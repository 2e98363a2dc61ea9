package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Options say where the tree is mounted.
type Options struct {
	Path   string       // the mount point, made if missing
	Procfs string       // where self/mountinfo is read, usually "/proc"
	Log    *slog.Logger // never nil
}

const (
	askedWithin  = 2 * time.Second        // the kernel puts its first question at once
	answerWithin = 200 * time.Millisecond // whoever serves a mount answers in microseconds; guests may be waiting
	maxStacked   = 1000                   // mounts on top of each other that clear takes away
)

// mountDevice puts a new FUSE mount at the path, with what is left there by an earlier process taken away
// first, and gives the descriptor to serve it by. It needs CAP_SYS_ADMIN.
func mountDevice(o Options) (*device, string, error) {
	path, err := resolve(o.Path)
	if err != nil {
		return nil, "", err
	}
	if err := clearStale(path, o); err != nil {
		return nil, "", err
	}
	if err := makeMountPoint(path); err != nil {
		return nil, "", err
	}
	d, err := openDevice()
	if err != nil {
		return nil, "", err
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", d.fd)
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount(mountSource, path, mountType, flags, data); err != nil {
		return nil, "", errors.Join(fmt.Errorf("tree: mount %s: %w: needs CAP_SYS_ADMIN", path, err), d.close())
	}
	return d, path, nil
}

// resolve makes the path absolute and free of symlinks, as mountinfo shows it. The last element is not looked at:
// it may be a mount that nobody answers for.
func resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("tree: mount point %s: %w", path, err)
	}
	if abs == "/" {
		return "", errors.New("tree: mount point /: choose another tree.path")
	}
	parent, rest := filepath.Dir(abs), filepath.Base(abs)
	for {
		dir, err := filepath.EvalSymlinks(parent)
		if err == nil {
			return filepath.Join(dir, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || parent == "/" {
			return "", fmt.Errorf("tree: mount point %s: %w", path, err)
		}
		parent, rest = filepath.Dir(parent), filepath.Join(filepath.Base(parent), rest)
	}
}

func makeMountPoint(path string) error {
	err := makeDirs(path)
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("tree: mount point %s is missing, on a file system that is read-only: "+
			"make it beforehand, or choose another tree.path", path)
	case err != nil:
		return fmt.Errorf("tree: mount point %s: %w: choose another tree.path", path, err)
	}
	return checkMountPoint(path)
}

func checkMountPoint(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("tree: mount point: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("tree: mount point %s is not a directory but %s: choose another tree.path", path, info.Mode().Type())
	}
	return nil
}

// makeDirs makes a directory and those above it that are missing. They are 0755 whatever the umask is, which a
// service has at 0077: libvirt and qemu, which run as users of their own, pass through them.
func makeDirs(path string) error {
	const mode = 0o755
	err := os.Mkdir(path, mode)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDirs(filepath.Dir(path)); err != nil {
			return err
		}
		err = os.Mkdir(path, mode)
	}
	switch {
	case err == nil:
		return os.Chmod(path, mode)
	case errors.Is(err, fs.ErrExist): // made by whom, and what it is, is looked at later
		return nil
	}
	return err
}

// Why a mount of ours at the path is left alone.
var (
	ErrServed = errors.New("served by another process of scaph: stop that one, or choose another tree.path")
	ErrHeld   = errors.New("kept for a service of scaph that does not run now: start that service, or take the mount away with `scaph-host unmount`")
)

// clearStale takes away mounts of ours at the path that nobody serves or holds any more, and refuses if somebody
// else's is there.
func clearStale(path string, o Options) error {
	for range maxStacked {
		mounts, err := mountsAt(o.Procfs, path)
		if err != nil || len(mounts) == 0 {
			return err
		}
		if err := inTheWay(path, mounts[len(mounts)-1]); err != nil {
			return err
		}
		o.Log.Warn("taking away a stale mount of an earlier process; guests that hold it must be restarted", "path", path)
		if err := detach(path); err != nil {
			return err
		}
	}
	return fmt.Errorf("tree: %s has more than %d mounts on top of each other", path, maxStacked)
}

// inTheWay says why a mount at the path cannot be taken away; nil if it can.
func inTheWay(path string, top mountEntry) error {
	if !top.ours() {
		return fmt.Errorf("tree: %s is already a mount of %s (type %s): unmount it, or choose another tree.path", path, top.source, top.fstype)
	}
	if err := stale(path); err != nil {
		return fmt.Errorf("tree: %s is %w", path, err)
	}
	return nil
}

// stale is nil for a mount whose descriptor nobody has any more: a question fails at once. Somebody who serves it answers,
// and then the error is ErrServed; where somebody, such as the service manager's descriptor store, only
// holds the descriptor, questions wait, and the error is ErrHeld.
//
// On a busy machine silence may mean that the mount is served; it is left alone either way.
//
// The question is put by a goroutine, because nobody can say when the outcome comes; one that never does is given up, with
// the thread that waits for it, until the mount's last descriptor is closed.
func stale(path string) error {
	outcome := make(chan error, 1)
	go func() {
		var st unix.Statfs_t
		outcome <- unix.Statfs(path, &st)
	}()
	patience := time.NewTimer(answerWithin)
	defer patience.Stop()
	select {
	case err := <-outcome:
		if err == nil {
			return ErrServed
		}
		return nil
	case <-patience.C:
		return ErrHeld
	}
}

func detach(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("tree: unmount %s: %w: needs CAP_SYS_ADMIN", path, err)
	}
	return nil
}

// Unmount takes every mount of ours away from the path, served or not, and those that are in use too: their holders
// keep a detached tree for as long as it is served. It tells how many there were. Somebody else's mount on top
// is an error.
func Unmount(o Options) (int, error) {
	path, err := resolve(o.Path)
	if err != nil {
		return 0, err
	}
	for n := range maxStacked {
		mounts, err := mountsAt(o.Procfs, path)
		if err != nil || len(mounts) == 0 {
			return n, err
		}
		if top := mounts[len(mounts)-1]; !top.ours() {
			return n, fmt.Errorf("tree: %s is a mount of %s (type %s), not ours: left alone", path, top.source, top.fstype)
		}
		if err := unmountOne(path); err != nil {
			return n, err
		}
	}
	return maxStacked, fmt.Errorf("tree: %s has more than %d mounts on top of each other", path, maxStacked)
}

// unmountOne ends the uppermost mount at the path: at once if nobody uses it, else as soon as nobody does.
func unmountOne(path string) error {
	err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("tree: unmount %s: %w: needs CAP_SYS_ADMIN", path, err)
	}
	return detach(path)
}

// mounted tells whether the uppermost mount at the path is ours.
func mounted(procfs, path string) bool {
	mounts, err := mountsAt(procfs, path)
	return err == nil && len(mounts) > 0 && mounts[len(mounts)-1].ours()
}
