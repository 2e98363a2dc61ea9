package vmmap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxConfig bounds a file of -readconfig; those that come with qemu have some 5 KiB.
const maxConfig = 64 << 10

// parseConfig takes a file of -readconfig apart, as qemu_config_foreach of its util/qemu-config.c
// does: [group] or [group "id"], then lines of key = "value". What follows a line that qemu would
// refuse is not looked at.
func parseConfig(text []byte, group func(name string, settings map[string]string)) {
	name, settings := "", map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			group(name, settings)
			name, _, _ = strings.Cut(strings.Trim(line, "[]"), " ")
			settings = map[string]string{}
		default:
			key, value, ok := strings.Cut(line, "=")
			value = strings.TrimSpace(value)
			if !ok || len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
				group(name, settings)
				return
			}
			settings[strings.TrimSpace(key)] = value[1 : len(value)-1]
		}
	}
	group(name, settings)
}

// readConfig reads a file that a process named, within the process's own root directory. Its path
// leads anywhere: to a device that acts when opened, to a pipe, to a file that somebody else
// writes. So it is opened for good only once it is known to be a regular file, of an account of the
// system, that nobody else may write.
func readConfig(dir, path string, system func(uid uint32) bool) ([]byte, error) {
	if !filepath.IsAbs(path) {
		cwd, err := os.Readlink(filepath.Join(dir, "cwd"))
		if err != nil {
			return nil, err
		}
		path = filepath.Join(cwd, path)
	}
	root, err := unix.Open(filepath.Join(dir, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the root directory of %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(root) }() // of a path: nothing to lose
	fd, err := unix.Openat2(root, path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return nil, err
	}
	if info.Mode&unix.S_IFMT != unix.S_IFREG || info.Mode&0o022 != 0 || info.Size > maxConfig || !system(info.Uid) {
		return nil, fmt.Errorf("%s: %w", path, errUnsafe)
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading: nothing to lose
	return io.ReadAll(io.LimitReader(f, maxConfig))
}

var errUnsafe = errors.New("not a small regular file that only accounts of the system may write")
