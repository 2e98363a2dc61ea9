//go:build cgo && libvirt_dlopen

package libvirt

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scaph/scaph/test/rights"
)

// privateDirs gives a libvirtd directories of its own in place of the machine's, in a mount namespace of its own, so that
// it stands beside any other libvirtd.
const privateDirs = `
set -e
mkdir -p /run/libvirt
for dir in run/libvirt var/lib/libvirt var/log/libvirt var/cache/libvirt etc/libvirt; do
	mkdir -p "$1/$dir"
	mount --bind "$1/$dir" "/$dir"
done
exec libvirtd --pid-file "$1/libvirtd.pid"
`

// A daemon is a real libvirtd.
type daemon struct {
	t    *testing.T
	root string
	cmd  *exec.Cmd
	log  bytes.Buffer
}

// newDaemon starts a libvirtd. Its domains are removed when the test ends.
func newDaemon(t *testing.T) *daemon {
	t.Helper()
	rights.Require(t, rights.Root, library,
		rights.Program("libvirtd", "libvirt-daemon-system"), rights.Program("virsh", "libvirt-clients"),
		rights.Program("unshare", "util-linux"), rights.Program("qemu-system-x86_64", "qemu-system-x86"))
	// A short path: the name of a socket has 108 bytes. All may enter it, for qemu runs as another user.
	root, err := os.MkdirTemp("", "vmmap")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	d := &daemon{t: t, root: root}
	etc := filepath.Join(root, "etc/libvirt")
	for path, text := range map[string]string{
		"libvirtd.conf": "auth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n",
		"qemu.conf":     "stdio_handler = \"file\"\nsecurity_driver = \"none\"\n",
	} {
		if err := errors.Join(os.MkdirAll(etc, 0o755), os.WriteFile(filepath.Join(etc, path), []byte(text), 0o644), os.Chmod(root, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	d.start()
	t.Cleanup(func() {
		if d.cmd.ProcessState != nil {
			d.start()
		}
		for _, name := range strings.Fields(d.virsh("list", "--name")) {
			d.virsh("destroy", name)
		}
		d.end(syscall.SIGTERM)
		if t.Failed() {
			t.Log(d.log.String())
		}
	})
	return d
}

func (d *daemon) start() {
	d.t.Helper()
	d.cmd = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", privateDirs, "sh", d.root)
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	until(d.t, 30*time.Second, "libvirtd is up", func() bool {
		return exec.Command("virsh", "-c", d.uri("libvirt-sock"), "version").Run() == nil
	})
}

func (d *daemon) end(signal syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(signal); err != nil {
		d.t.Fatal(err)
	}
	_ = d.cmd.Wait() // it ends by our signal, which Wait calls an error
}

// run is libvirt's runtime directory.
func (d *daemon) run() string { return filepath.Join(d.root, "run/libvirt") }

func (d *daemon) uri(socket string) string {
	return "qemu+unix:///system?socket=" + filepath.Join(d.run(), socket)
}

func (d *daemon) virsh(args ...string) string {
	d.t.Helper()
	out, err := exec.Command("virsh", append([]string{"-q", "-c", d.uri("libvirt-sock")}, args...)...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("virsh %q: %v: %s\nlibvirtd: %s", args, err, out, d.log.String())
	}
	return string(out)
}

// define makes a domain that boots nothing, with a share.
func (d *daemon) define(name, uuid string) {
	d.t.Helper()
	share := filepath.Join(d.root, "share")
	document := filepath.Join(d.root, name+".xml")
	text := strings.NewReplacer("NAME", name, "UUID", uuid, "SHARE", share).Replace(`<domain type='qemu'>
  <name>NAME</name><uuid>UUID</uuid><title>the title of NAME</title>
  <metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:flavor name="m1.tiny"/>
    <nova:owner><nova:user uuid="1">alice</nova:user><nova:project uuid="2">lab</nova:project></nova:owner></nova:instance></metadata>
  <memory unit='MiB'>24</memory><vcpu current='2'>3</vcpu>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <filesystem type='mount'><driver type='virtiofs'/><source dir='SHARE'/><target dir='share'/></filesystem>
  </devices></domain>`)
	if err := errors.Join(os.MkdirAll(share, 0o755), os.WriteFile(document, []byte(text), 0o644)); err != nil {
		d.t.Fatal(err)
	}
	d.virsh("define", document)
}
