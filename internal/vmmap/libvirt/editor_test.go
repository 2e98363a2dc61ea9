//go:build cgo && libvirt_dlopen

package libvirt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/scaph/scaph/internal/vmmap"
	"github.com/scaph/scaph/test/rights"
)

func openEditor(t *testing.T, uri string, write bool) *Editor {
	t.Helper()
	e, err := OpenEditor(t.Context(), uri, write)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

const (
	kept    = "7d3c0c0e-0000-4000-8000-000000000001"
	passing = "7d3c0c0e-0000-4000-8000-000000000002"
)

// TestEditor changes definitions on a real libvirtd.
func TestEditor(t *testing.T) {
	t.Parallel() // a stopped daemon is waited for
	d := newDaemon(t)
	document := filepath.Join(d.root, "vm.xml")
	vm := func(name, uuid string) string {
		return strings.NewReplacer("NAME", name, "UUID", uuid).Replace(`<domain type='qemu'><name>NAME</name><uuid>UUID</uuid>
  <memory unit='MiB'>24</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><graphics type='vnc' passwd='secret'/></devices></domain>`)
	}
	for command, text := range map[string]string{"define": vm("kept", kept), "create": vm("passing", passing)} {
		if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		d.virsh(command, document)
	}
	e := openEditor(t, d.uri("libvirt-sock"), true)
	reader := openEditor(t, d.uri("libvirt-sock-ro"), false)

	if domains, err := e.List(); err != nil || len(domains) != 2 {
		t.Errorf("%+v, %v", domains, err)
	}
	if major, minor, err := e.QEMU(); err != nil || major < 4 || minor > 20 {
		t.Errorf("qemu %d.%d, %v", major, minor, err)
	}
	whole, err := e.Definition(kept, true)
	if err != nil || !strings.Contains(whole, "passwd='secret'") {
		t.Fatalf("%v: %s", err, whole)
	}
	shown, err := reader.Definition(kept, false)
	if err != nil || shown != strings.Replace(whole, " passwd='secret'", "", 1) {
		t.Errorf("%v: %s", err, shown)
	}
	if _, err := reader.Definition(kept, true); err == nil || !strings.Contains(err.Error(), "as root") {
		t.Errorf("a reader is shown passwords: %v", err)
	}
	titled := strings.Replace(whole, "  <memory", "  <title>new</title>\n  <memory", 1)
	if err := reader.Define(titled); err == nil || !strings.Contains(err.Error(), "as root") {
		t.Errorf("a reader defines: %v", err)
	}
	if err := e.Define(titled); err != nil {
		t.Fatal(err)
	}
	if now, err := e.Definition(kept, true); err != nil || now != titled {
		t.Errorf("%v: %s", err, now)
	}
	if err := e.Define("<domain/>"); err == nil {
		t.Error("anything is a definition")
	}
	if saved, err := e.Saved(kept); err != nil || saved {
		t.Errorf("saved %v, %v", saved, err)
	}

	if _, err := e.Definition(passing, false); !errors.Is(err, vmmap.ErrTransient) {
		t.Errorf("a transient domain: %v", err)
	}
	if live, err := e.Live(passing); err != nil || !strings.Contains(live, "id='") {
		t.Errorf("%v: %s", err, live)
	}
	if err := e.Plug(passing, "<filesystem type='mount'><source dir='/'/><target dir='x'/></filesystem>"); err == nil || !strings.Contains(err.Error(), "virtiofs") {
		t.Errorf("9p is plugged in: %v", err)
	}
	const rng = "<rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='ua-1'/></rng>"
	if err := e.Plug(passing, rng); err != nil {
		t.Error(err)
	}
	if live, err := e.Live(passing); err != nil || !strings.Contains(live, "ua-1") {
		t.Errorf("%v: %s", err, live)
	}
	for _, err := range []error{e.Plug(kept, rng), e.Unplug(passing, "<rng/>")} { // it does not run; no such device
		if err == nil {
			t.Error("no error")
		}
	}
	if _, err := e.Definition("7d3c0c0e-0000-4000-8000-00000000000f", false); err == nil {
		t.Error("no error for an unknown UUID")
	}

	// A daemon that is stopped ends our calls, and does not take us with it.
	if err := d.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err = e.Definition(kept, false)
	if err == nil {
		t.Error("a daemon that stands still answers")
	}
	t.Log(err)
	if err := d.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

func TestEditorWithoutDaemon(t *testing.T) {
	rights.Require(t, library)
	if _, err := OpenEditor(t.Context(), "qemu+unix:///system?socket="+filepath.Join(t.TempDir(), "none"), true); err == nil {
		t.Error("no error")
	}
}
