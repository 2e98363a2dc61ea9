package vfs

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindGroup(t *testing.T) {
	const debian = "root:x:0:\nkvm:x:108:\nlibvirt-qemu:x:64055:libvirt-qemu\n"
	const fedora = "root:x:0:\nkvm:x:36:qemu\nqemu:x:107:\n"
	for _, c := range []struct {
		name, group, conf string
		owner             string // "" for Auto
		want              uint32
		why               string // part of it, or of the error
		fails             bool
	}{
		{name: "Debian", group: debian, want: 64055, why: "libvirt-qemu"},
		{name: "Fedora", group: fedora, want: 107, why: "qemu"},
		{name: "kvm alone", group: "kvm:x:36:\n", want: 36, why: "kvm"},
		{name: "none", group: "root:x:0:\n", want: 0, why: "root only"},
		{name: "no files", want: 0, why: "root only"},
		{name: "set", group: debian, conf: "user = \"root\"\n#group = \"root\"\n  group = \"kvm\"  # ours\n", want: 108, why: "qemu.conf"},
		{name: "single quotes", group: debian, conf: "group='kvm'\n", want: 108, why: "qemu.conf"},
		{name: "number", group: debian, conf: `group = "+1234"`, want: 1234, why: "group +1234"},
		{name: "configured", group: debian, conf: "group = \"root\"\n", owner: "kvm", want: 108, why: "configured"},
		{name: "configured by number", owner: "77", want: 77, why: "configured"},
		{name: "configured wrongly", group: debian, owner: "nosuch", fails: true, why: "nosuch"},
		{name: "set twice", group: debian, conf: "group = \"root\"\ngroup = \"kvm\"\n", want: 108, why: "kvm"},
		{name: "only similar keys", group: debian, conf: "swtpm_group = \"tss\"\ngroups = \"a\"\n", want: 64055, why: "libvirt-qemu"},
		{name: "unknown", group: debian, conf: `group = "nosuch"`, fails: true, why: "nosuch"},
		{name: "garbage", group: "a\nb:c\n:::\nkvm:x:-1:\nqemu:x:99999999999:\n", conf: "=\ngroup\ngroup =\n\x00", want: 0, why: "root only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			if c.group != "" {
				write(t, filepath.Join(root, "etc/group"), c.group)
			}
			if c.conf != "" {
				write(t, filepath.Join(root, "etc/libvirt/qemu.conf"), c.conf)
			}
			gid, why, err := FindGroup(root, cmp.Or(c.owner, Auto))
			if err != nil {
				why = err.Error()
			}
			if gid != c.want || (err != nil) != c.fails || !strings.Contains(why, c.why) {
				t.Errorf("%d, %q, %v; want %d, %q", gid, why, err, c.want, c.why)
			}
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	makeDir(t, filepath.Dir(path))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
