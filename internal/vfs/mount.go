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
	answerWithin = 2 * time.Second // a mount that does not answer statfs(2) by then is served by nobody
	maxStacked   = 1000            // mounts on top of each other that clear takes away
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
	// 0755: libvirt and qemu, which run as users of their own, pass through it.
	err := os.MkdirAll(path, 0o755)
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("tree: mount point %s is missing, on a file system that is read-only: "+
			"make it beforehand, or choose another tree.path", path)
	case err != nil:
		return fmt.Errorf("tree: mount point: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("tree: mount point: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("tree: mount point %s is not a directory but %s: choose another tree.path", path, info.Mode().Type())
	}
	return nil
}

// ErrServed says that another process serves the tree at this path.
var ErrServed = errors.New("served by another process of scaph: stop that one, or choose another tree.path")

// clearStale takes away mounts of ours at the path that nobody serves any more, and refuses if somebody else's
// is there.
func clearStale(path string, o Options) error {
	for range maxStacked {
		mounts, err := mountsAt(o.Procfs, path)
		if err != nil || len(mounts) == 0 {
			return err
		}
		top := mounts[len(mounts)-1]
		if !top.ours() {
			return fmt.Errorf("tree: %s is already a mount of %s (type %s): unmount it, or choose another tree.path",
				path, top.source, top.fstype)
		}
		if answers(path) {
			return fmt.Errorf("tree: %s is %w", path, ErrServed)
		}
		o.Log.Warn("taking away a stale mount of an earlier process; guests that hold it must be restarted", "path", path)
		if err := detach(path); err != nil {
			return err
		}
	}
	return fmt.Errorf("tree: %s has more than %d mounts on top of each other", path, maxStacked)
}

// answers tells whether somebody serves the mount at the path. The question is put by a goroutine, because nobody can
// say when the answer comes; one that never does is given up, with the thread that waits for it, until the
// mount's last descriptor is closed.
func answers(path string) bool {
	alive := make(chan bool, 1)
	go func() {
		var st unix.Statfs_t
		alive <- unix.Statfs(path, &st) == nil
	}()
	timeout := time.NewTimer(answerWithin)
	defer timeout.Stop()
	select {
	case ok := <-alive:
		return ok
	case <-timeout.C:
		return false
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
