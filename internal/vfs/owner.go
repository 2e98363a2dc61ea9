package vfs

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// FindGroup gives the id of the group that qemu and virtiofsd run with, which may read energy_uj. It looks below root
// ("/" on a live system) at libvirt's own setting, then for the accounts that distributions use. What it found, or
// that it found nothing and only root may read, stands in why.
//
// qemu serves 9p with these rights; virtiofsd, which libvirt starts as root, would not need them.
func FindGroup(root string) (gid uint32, why string, err error) {
	groups, err := readGroups(filepath.Join(root, "etc/group"))
	if err != nil {
		return 0, "", err
	}
	conf := filepath.Join(root, "etc/libvirt/qemu.conf")
	name, err := qemuGroup(conf)
	if err != nil {
		return 0, "", err
	}
	if name != "" {
		// libvirt takes "+107" and "107" for numbers, unless a group has that name.
		if gid, ok := groups[name]; ok {
			return gid, fmt.Sprintf("group %s, from %s", name, conf), nil
		}
		if n, err := strconv.ParseUint(strings.TrimPrefix(name, "+"), 10, 32); err == nil {
			return uint32(n), fmt.Sprintf("group %d, from %s", n, conf), nil
		}
		return 0, "", fmt.Errorf("tree: %s names group %q, which %s does not know", conf, name, filepath.Join(root, "etc/group"))
	}
	for _, name := range []string{"libvirt-qemu", "qemu", "kvm"} { // Debian and Ubuntu; Fedora, RHEL, SUSE; the rest
		if gid, ok := groups[name]; ok {
			return gid, fmt.Sprintf("group %s, qemu's by default", name), nil
		}
	}
	return 0, "root only: no group of qemu's was found; set tree.owner", nil
}

// qemuGroup gives the value of the line `group = "NAME"`, "" if there is none.
func qemuGroup(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("tree: cannot tell qemu's group: %w", err)
	}
	defer f.Close()
	group := ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), "=")
		if !ok || strings.TrimSpace(key) != "group" {
			continue
		}
		value = strings.TrimSpace(value)
		if quote := value[:min(1, len(value))]; quote == `"` || quote == "'" {
			value, _, _ = strings.Cut(value[1:], quote)
		} else {
			value, _, _ = strings.Cut(value, "#")
		}
		group = strings.TrimSpace(value)
	}
	return group, lines.Err()
}

// readGroups reads group(5). Accounts that only a name service knows are given by number in tree.owner.
func readGroups(path string) (map[string]uint32, error) {
	groups := make(map[string]uint32)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return groups, nil
	}
	if err != nil {
		return nil, fmt.Errorf("tree: cannot tell qemu's group: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 3 {
			continue
		}
		if gid, err := strconv.ParseUint(fields[2], 10, 32); err == nil {
			groups[fields[0]] = uint32(gid)
		}
	}
	return groups, lines.Err()
}
