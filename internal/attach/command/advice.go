package command

import (
	"fmt"
	"strings"

	"github.com/scaph/scaph/internal/attach"
	"github.com/scaph/scaph/internal/vmmap"
)

func (c *Command) tellAttached(vm vmmap.Domain, share attach.Share, r attach.Result) {
	if !r.Changed {
		c.say(vm, "attached already, by %s", r.Type)
		return
	}
	c.say(vm, "attached by %s: %s", r.Type, share.Source)
	if r.Instead != "" {
		c.note("not by virtiofs: %s", r.Instead)
	}
	switch {
	case r.MemoryInFile:
		c.note("its memory becomes shared: a file in libvirt's memory_backing_dir, as its <source> says; memfd would keep it off the disk")
	case r.MemoryShared:
		c.note("its memory becomes shared, which virtiofs needs")
	}
}

func (c *Command) tellDetached(vm vmmap.Domain, r attach.Result) {
	switch {
	case !r.Changed:
		c.say(vm, "not attached")
	case c.DryRun:
	case r.Type == "":
		c.say(vm, "the share was gone already; what else attach had added is taken back")
	default:
		c.say(vm, "detached")
	}
	if r.Foreign {
		c.note("the share was not made by attach: only the share goes, the memory stays as it is")
	}
	if r.MemoryKept != "" {
		c.note("its memory stays shared: %s", r.MemoryKept)
	}
}

// mountLine is what mounts the meter in a guest, without scaph-guest.
func mountLine(t attach.Type) string {
	if t == attach.Virtiofs {
		return "mount -t virtiofs -o ro scaphandre /var/scaphandre"
	}
	return "mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=none scaphandre /var/scaphandre"
}

// advise says, once for all VMs, what is to be done in the guests, and what having a meter means.
func (c *Command) advise() {
	if len(c.attached) == 0 {
		return
	}
	fmt.Fprintln(c.Out, "\nIn the guest, as root:  scaph-guest mount")
	for _, t := range []attach.Type{attach.Virtiofs, attach.NineP} {
		if c.attached[t] > 0 {
			fmt.Fprintf(c.Out, "or, without scaph-guest:  mkdir -p /var/scaphandre && %s\n", mountLine(t))
		}
	}
	if c.attached[attach.Virtiofs] > 0 {
		fmt.Fprintln(c.Out, c.virtiofsMigrates())
	}
	if c.attached[attach.NineP] > 0 {
		fmt.Fprintln(c.Out, "Migration, save and managed save of a VM by 9p: qemu refuses them while the guest has its meter mounted.")
	}
	if c.Host.AppArmor && !strings.HasPrefix(c.Tree.Path, "/var/lib/libvirt/") {
		fmt.Fprintf(c.Out, "AppArmor is active, and %s is not below /var/lib/libvirt: if a VM does not start, or its guest reads nothing, allow it in "+
			"/etc/apparmor.d/local/abstractions/libvirt-qemu.\n", c.Tree.Path)
	}
	if c.Host.SELinux {
		fmt.Fprintln(c.Out, "SELinux is enforcing, with which sharing a meter has not been tried: if a VM does not start, or its guest reads nothing, "+
			"see `ausearch -m avc`, and setsebool -P virt_use_fusefs on.")
	}
}

// virtiofsMigrates says what is known: qemu 7.2 refuses; from 8.2 on its vhost-user-fs can migrate with a virtiofsd that can.
func (c *Command) virtiofsMigrates() string {
	const what = "Migration, save and managed save of a VM by virtiofs: "
	if c.Host.Major > 8 || c.Host.Major == 8 && c.Host.Minor >= 2 {
		return what + fmt.Sprintf("qemu %d.%d can, with a virtiofsd that can too (its description in vhost-user/*.json has migrate-precopy). "+
			"That has not been tried; try it before you rely on it.", c.Host.Major, c.Host.Minor)
	}
	if c.Host.Major == 0 {
		return what + "qemu before 8.2 refuses them."
	}
	return what + fmt.Sprintf("this host's qemu, %d.%d, refuses them, as all before 8.2 do.", c.Host.Major, c.Host.Minor)
}
