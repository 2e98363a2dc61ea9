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

// Auto is the owner that FindGroup looks for by itself.
const Auto = "auto"

// FindGroup gives the id of the group that may read energy_uj, beside root. The owner is a group's name or
// number, or Auto: then it is the group that qemu runs with, by libvirt's own setting or else by the accounts that
// distributions use, and root alone where there is none. All is looked up below root ("/" on a live system).
// Why says for people what was found where.
//
// qemu serves 9p with the rights of that group; virtiofsd, which libvirt starts as root, would not need them.
func FindGroup(root, owner string) (gid uint32, why string, err error) {
	account := filepath.Join(root, "etc/group")
	groups, err := readGroups(account)
	if err != nil {
		return 0, "", err
	}
	if owner != Auto {
		gid, ok := groupID(groups, owner)
		if !ok {
			return 0, "", fmt.Errorf("tree: owner %q is not a group in %s, nor a number", owner, account)
		}
		return gid, "group " + owner + ", as configured", nil
	}
	conf := filepath.Join(root, "etc/libvirt/qemu.conf")
	name, err := qemuGroup(conf)
	if err != nil && !errors.Is(err, fs.ErrPermission) { // who may not read it may not mount either
		return 0, "", err
	}
	if name != "" {
		gid, ok := groupID(groups, name)
		if !ok {
			return 0, "", fmt.Errorf("tree: %s names group %q, which %s does not know", conf, name, account)
		}
		return gid, fmt.Sprintf("group %s, from %s", name, conf), nil
	}
	for _, name := range []string{"libvirt-qemu", "qemu", "kvm"} { // Debian and Ubuntu; Fedora, RHEL, SUSE; the rest
		if gid, ok := groups[name]; ok {
			return gid, fmt.Sprintf("group %s, qemu's by default", name), nil
		}
	}
	return 0, "root only: no group of qemu's was found; set tree.owner", nil
}

// groupID takes "+107" and "107" for numbers, unless a group has that name, as libvirt does.
func groupID(groups map[string]uint32, name string) (uint32, bool) {
	if gid, ok := groups[name]; ok {
		return gid, true
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(name, "+"), 10, 32)
	return uint32(n), err == nil
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
