package vmmap

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/proc"
)

const (
	firstOrdinaryUID = 1000 // UID_MIN of login.defs(5); the same with systemd, Debian, Red Hat and SUSE
	maxPasswd        = 16 << 20
)

// accounts knows which users are the system's own. Debian gives the user that libvirt runs guests as
// an id far above the others' (64055), so it is looked up by name.
type accounts struct {
	path   string // passwd(5)
	guests map[uint32]bool
}

// refresh reads the file again; where it cannot be read, what is known stays.
func (a *accounts) refresh() {
	text, err := proc.ReadLimited(a.path, maxPasswd)
	if err != nil {
		return
	}
	a.guests = map[uint32]bool{}
	for line := range bytes.Lines(text) {
		fields := bytes.Split(line, []byte(":"))
		if len(fields) < 3 {
			continue
		}
		switch string(fields[0]) {
		case "libvirt-qemu", "qemu":
			if uid, err := strconv.ParseUint(string(fields[2]), 10, 32); err == nil {
				a.guests[uint32(uid)] = true
			}
		}
	}
}

// system reports whether ordinary users cannot start processes with this id.
func (a *accounts) system(uid uint32) bool { return uid < firstOrdinaryUID || a.guests[uid] }

// accountOf returns who answers for a process, by what its status and cgroup files hold. Root of a
// container is not the system: whoever may start a container may be anybody in it. So a process in
// another user namespace than ours, in a PID namespace below that of our procfs, or in a
// container's cgroup that process 1 is not in, is an ordinary one whatever its id. In a user
// namespace ids are anybody's too: there the account is the one that made the namespace.
func (t *processes) accountOf(dir, container string, c proc.Status) proc.Account {
	by := proc.Account{UID: c.UID, System: t.accounts.system(c.UID)}
	if c.Nested || container != t.container() {
		by.System = false
	}
	path := filepath.Join(dir, "ns/user")
	home, err := os.Readlink(filepath.Join(t.root, "self/ns/user"))
	if err != nil {
		return by // a kernel without such namespaces
	}
	own, err := os.Readlink(path)
	if errors.Is(err, fs.ErrPermission) {
		return by // we may not see its executable either
	}
	if own != home {
		by = proc.Account{UID: namespaceOwner(path, home)}
	}
	return by
}

// container returns which container process 1 is in, "" for none: it is there where the program
// runs in one itself.
func (t *processes) container() string {
	text, err := t.dir.ReadFile(1, "cgroup")
	if err != nil {
		return ""
	}
	return containerOf(text)
}

// namespaceOwner returns the account of the home namespace that made a user namespace or the first
// of those around it, ioctl_nsfs(2); proc.NoUID where that cannot be told.
func namespaceOwner(path, home string) uint32 {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return proc.NoUID
	}
	defer func() { _ = unix.Close(fd) }() // of a namespace: nothing to lose
	for range 33 {                        // the kernel nests them 32 deep
		parent, err := unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
		if err != nil {
			return proc.NoUID
		}
		var info unix.Stat_t
		if err := unix.Fstat(parent, &info); err == nil && fmt.Sprintf("user:[%d]", info.Ino) == home {
			_ = unix.Close(parent)
			return ownerOf(fd)
		}
		_ = unix.Close(fd)
		fd = parent
	}
	return proc.NoUID
}

func ownerOf(fd int) uint32 {
	uid, err := unix.IoctlGetUint32(fd, unix.NS_GET_OWNER_UID)
	if err != nil {
		return proc.NoUID
	}
	return uid
}
