package command

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
)

// A Host is what of a host decides how VMs can be given a meter.
type Host struct {
	NoVirtiofs string // why there is no virtiofs, "" where there is
	AppArmor   bool   // active
	SELinux    bool   // enforcing
	Major      int    // of qemu's version, 0 where it is not known
	Minor      int
}

// descriptions are where virtiofsd is registered: libvirt looks nowhere else for it
// (https://www.qemu.org/docs/master/interop/vhost-user.html, docs/interop/vhost-user.json).
var descriptions = [...]string{"etc/qemu/vhost-user", "usr/share/qemu/vhost-user", "usr/local/share/qemu/vhost-user"}

// LookAtHost looks at a host's files below root.
func LookAtHost(root, sysfs string) Host {
	var h Host
	if !hasVirtiofsd(root) {
		h.NoVirtiofs = "no virtiofsd is registered in /usr/share/qemu/vhost-user (packages virtiofsd, or qemu-system-common on Debian 12)"
	}
	enabled, err := os.ReadFile(filepath.Join(sysfs, "module/apparmor/parameters/enabled"))
	h.AppArmor = err == nil && bytes.HasPrefix(enabled, []byte("Y"))
	enforce, err := os.ReadFile(filepath.Join(sysfs, "fs/selinux/enforce"))
	h.SELinux = err == nil && bytes.HasPrefix(enforce, []byte("1"))
	return h
}

func hasVirtiofsd(root string) bool {
	for _, dir := range descriptions {
		files, _ := filepath.Glob(filepath.Join(root, dir, "*.json")) // the pattern is right
		for _, file := range files {
			text, err := os.ReadFile(file)
			var backend struct{ Type string }
			if err == nil && json.Unmarshal(text, &backend) == nil && backend.Type == "fs" {
				return true
			}
		}
	}
	return false
}
