package vmmap

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	firstOrdinaryUID = 1000 // UID_MIN of login.defs(5); the same with systemd, Debian, Red Hat and SUSE
	maxPasswd        = 16 << 20
)

// An account is who answers for a process.
type account struct {
	uid    uint32 // in our user namespace; noUID where unknown
	system bool   // ordinary users cannot start processes as it
}

// accounts knows which users are the system's own. Debian gives the user that libvirt runs guests as
// an id far above the others' (64055), so it is looked up by name.
type accounts struct {
	path   string // passwd(5)
	guests map[uint32]bool
}

// refresh reads the file again; where it cannot be read, what is known stays.
func (a *accounts) refresh() {
	text, err := readLimited(a.path, maxPasswd)
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
func (t *processes) accountOf(dir, container string, c credentials) account {
	by := account{uid: c.uid, system: t.accounts.system(c.uid)}
	if c.nested || container != t.container() {
		by.system = false
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
		by = account{uid: namespaceOwner(path, home)}
	}
	return by
}

// container returns which container process 1 is in, "" for none: it is there where the program
// runs in one itself.
func (t *processes) container() string {
	text, err := t.files.read(filepath.Join(t.root, "1/cgroup"))
	if err != nil {
		return ""
	}
	return containerOf(text)
}

// namespaceOwner returns the account of the home namespace that made a user namespace or the first
// of those around it, ioctl_nsfs(2); noUID where that cannot be told.
func namespaceOwner(path, home string) uint32 {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return noUID
	}
	defer func() { _ = unix.Close(fd) }() // of a namespace: nothing to lose
	for range 33 {                        // the kernel nests them 32 deep
		parent, err := unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
		if err != nil {
			return noUID
		}
		var info unix.Stat_t
		if err := unix.Fstat(parent, &info); err == nil && fmt.Sprintf("user:[%d]", info.Ino) == home {
			_ = unix.Close(parent)
			return ownerOf(fd)
		}
		_ = unix.Close(fd)
		fd = parent
	}
	return noUID
}

func ownerOf(fd int) uint32 {
	uid, err := unix.IoctlGetUint32(fd, unix.NS_GET_OWNER_UID)
	if err != nil {
		return noUID
	}
	return uid
}

// credentials are what /proc/PID/status, proc_pid_status(5), says of who runs a process.
type credentials struct {
	uid    uint32 // real: who started it, be the program set-user-ID or not
	nested bool   // it is in a PID namespace below that of our procfs
}

// parseCredentials reads /proc/PID/status; the uid is noUID with an error.
func parseCredentials(text []byte) (c credentials, err error) {
	c.uid = noUID
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			if fields := bytes.Fields(rest); len(fields) > 0 {
				uid, err := strconv.ParseUint(string(fields[0]), 10, 32)
				if err != nil {
					return c, fmt.Errorf("status: user id %q: %w", fields[0], err)
				}
				c.uid = uint32(uid)
			}
		} else if rest, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			c.nested = len(bytes.Fields(rest)) > 1
		}
	}
	if c.uid == noUID {
		return c, errors.New("status has no line that begins with Uid")
	}
	return c, nil
}

// containerOf finds in /proc/PID/cgroup, cgroups(7), what names a container, and returns its path
// up to there; "" if there is nothing like it. The shapes, with Docker, Podman, containerd, CRI-O;
// Kubernetes; LXC; systemd-nspawn:
//
//	/docker/<64 digits>  /system.slice/docker-<64 digits>.scope  …/libpod-<64 digits>.scope
//	/kubepods/besteffort/pod<uid>/…  /kubepods.slice/…
//	/lxc/101/ns  /lxc.payload.web  /machine.slice/machine-fedora.scope
func containerOf(text []byte) string {
	for line := range bytes.Lines(text) {
		_, rest, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(":"))
		_, group, _ := bytes.Cut(rest, []byte(":"))
		parts := strings.Split(string(group), "/")
		for i, part := range parts {
			if strings.HasPrefix(part, "kubepods") || part == "lxc" || strings.HasPrefix(part, "lxc.payload") ||
				strings.HasPrefix(part, "machine-") && strings.HasSuffix(part, ".scope") && !strings.HasPrefix(part, "machine-qemu") ||
				hasContainerID(part) {
				return strings.Join(parts[:i+1], "/")
			}
		}
	}
	return ""
}

// hasContainerID reports whether a name ends in 64 hexadecimal digits, but for a suffix of
// systemd's.
func hasContainerID(name string) bool {
	name, _, _ = strings.Cut(name, ".")
	const digits = 64
	return len(name) >= digits && strings.Trim(name[len(name)-digits:], "0123456789abcdef") == ""
}
