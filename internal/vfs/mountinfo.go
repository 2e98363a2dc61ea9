package vfs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What the kernel shows of our mounts: by these two, and no less, a mount is known as ours.
const (
	mountType   = "fuse.scaph"
	mountSource = "scaph"
)

// A mountEntry is one line of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
type mountEntry struct {
	point  string
	fstype string
	source string
}

func (m mountEntry) ours() bool { return m.fstype == mountType && m.source == mountSource }

// mountsAt lists what is mounted at a path, lowest first, without touching the path itself: that could
// block for ever if nobody serves it.
func mountsAt(procfs, path string) ([]mountEntry, error) {
	name := filepath.Join(procfs, "self", "mountinfo")
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("tree: cannot tell what is mounted at %s: %w", path, err)
	}
	defer f.Close()
	all, err := parseMountinfo(f)
	if err != nil {
		return nil, fmt.Errorf("tree: %s: %w", name, err)
	}
	var at []mountEntry
	for _, m := range all {
		if m.point == path {
			at = append(at, m)
		}
	}
	return at, nil
}

// parseMountinfo reads mount entries. Lines that are not understood are passed over.
func parseMountinfo(r io.Reader) ([]mountEntry, error) {
	var entries []mountEntry
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // overlay options run long
	for lines.Scan() {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
		before, after, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 6 || len(right) < 2 {
			continue
		}
		entries = append(entries, mountEntry{point: unescapeMount(left[4]), fstype: right[0], source: unescapeMount(right[1])})
	}
	return entries, lines.Err()
}

// unescapeMount undoes the kernel's \ooo for space, tab, newline and backslash.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
