package system

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/series"
)

// maxDisks bounds the file systems that are shown.
const maxDisks = 256

// readDisks asks the file systems on disks and on the network for their sizes.
func (c *Collector) readDisks(ctx context.Context) []series.Disk {
	// Those of init are the host's, also where we have a container's.
	text, err := os.ReadFile(c.proc("1", "mounts"))
	if err != nil {
		if text, err = os.ReadFile(c.proc("self", "mounts")); err != nil {
			return nil
		}
	}
	var mounts []series.Disk
	at := map[string]int{} // of a mount point in mounts
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		d := series.Disk{Device: unescape(fields[0]), MountPoint: unescape(fields[1]), FileSystem: fields[2]}
		if i, covered := at[d.MountPoint]; covered {
			mounts[i] = d
			continue
		}
		at[d.MountPoint] = len(mounts)
		mounts = append(mounts, d)
	}
	var disks []series.Disk
	shown := map[string]bool{} // by device: bind mounts are the same file system again
	for _, d := range mounts {
		if !hasDisk(d.Device, d.FileSystem) || shown[d.Device] || len(disks) == maxDisks || ctx.Err() != nil {
			continue
		}
		size, err := read(ctx, c.ofDisks, d.MountPoint, func() (unix.Statfs_t, error) {
			var size unix.Statfs_t
			return size, unix.Statfs(c.inRoot(d.MountPoint), &size)
		})
		if err != nil || size.Blocks == 0 {
			continue
		}
		d.Total, d.Available = size.Blocks*uint64(size.Bsize), size.Bavail*uint64(size.Bsize)
		d.Type, d.Removable = c.kindOfDisk(d.Device)
		shown[d.Device] = true
		disks = append(disks, d)
	}
	return disks
}

// inRoot returns where a path of init's root is for us.
func (c *Collector) inRoot(path string) string {
	if c.options.Procfs == "/proc" {
		return path
	}
	return c.proc("1", "root") + path
}

// hasDisk tells file systems on disks, on the network and of zfs from those that the kernel makes up.
func hasDisk(device, fileSystem string) bool {
	if strings.HasPrefix(fileSystem, "fuse.") || fileSystem == "fuse" || fileSystem == "squashfs" || fileSystem == "iso9660" {
		return false
	}
	return strings.HasPrefix(device, "/") || strings.Contains(device, ":/") || fileSystem == "zfs"
}

// kindOfDisk says what /sys/class/block knows of a device. A partition has what its disk has, which is the directory above.
func (c *Collector) kindOfDisk(device string) (kind string, removable bool) {
	kind = "Unknown"
	if !strings.HasPrefix(device, "/dev/") {
		return kind, false
	}
	if target, err := filepath.EvalSymlinks(device); err == nil {
		device = target // of /dev/mapper/…
	}
	block := filepath.Join(c.options.Sysfs, "class/block", filepath.Base(device))
	for _, directory := range []string{block, block + "/.."} { // not cleaned: that of the link's target
		if text, err := os.ReadFile(directory + "/queue/rotational"); err == nil {
			kind = "SSD"
			if strings.TrimSpace(string(text)) == "1" {
				kind = "HDD"
			}
			text, _ = os.ReadFile(directory + "/removable")
			return kind, strings.TrimSpace(string(text)) == "1"
		}
	}
	return kind, false
}

// unescape makes a name of a field of mounts, in which \040 is a space, proc_pid_mounts(5).
func unescape(field string) string {
	if !strings.Contains(field, `\`) {
		return field
	}
	var b strings.Builder
	for i := 0; i < len(field); i++ {
		if field[i] == '\\' && i+3 < len(field) {
			if n, ok := octal(field[i+1 : i+4]); ok {
				b.WriteByte(n)
				i += 3
				continue
			}
		}
		b.WriteByte(field[i])
	}
	return b.String()
}

func octal(digits string) (byte, bool) {
	n := 0
	for _, d := range []byte(digits) {
		if d < '0' || d > '7' {
			return 0, false
		}
		n = 8*n + int(d-'0')
	}
	return byte(n), n < 256
}
