package command

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/attach"
	"github.com/scaph/scaph/internal/vmmap"
)

const (
	uuidWeb = "11111111-0000-4000-8000-000000000001"
	uuidDB  = "11111111-0000-4000-8000-000000000002"
)

const plain = "<domain type='kvm'>\n  <name>web</name>\n  <devices>\n    <emulator>/usr/bin/kvm</emulator>\n  </devices>\n</domain>\n"

// shared is a VM that runs with shared memory.
const shared = "<domain type='kvm' id='3'>\n  <memoryBacking>\n    <access mode='shared'/>\n  </memoryBacking>\n  <devices>\n  </devices>\n</domain>\n"

// A fake is a libvirt with one VM.
type fake struct {
	definition string // "" for a transient domain
	live       string
	saved      bool
	refuses    func(document string) error // of Define
	plugErr    error
	stubborn   bool // the guest keeps what it is to give back

	defined int
	plugged []string
	secrets bool // was asked for passwords
}

func (f *fake) Definition(_ string, secrets bool) (string, error) {
	f.secrets = f.secrets || secrets
	if f.definition == "" {
		return "", vmmap.ErrTransient
	}
	return f.definition, nil
}

func (f *fake) Live(string) (string, error) { return f.live, nil }

func (f *fake) Define(document string) error {
	if f.refuses != nil {
		if err := f.refuses(document); err != nil {
			return err
		}
	}
	f.defined++
	f.definition = document
	return nil
}

func (f *fake) Plug(_, device string) error {
	if f.plugErr == nil {
		f.plugged = append(f.plugged, device)
		f.live = strings.Replace(f.live, "</devices>", device+"</devices>", 1)
	}
	return f.plugErr
}

func (f *fake) Unplug(_, device string) error {
	if !f.stubborn {
		f.live = strings.Replace(f.live, device, "", 1)
	}
	return nil
}

func (f *fake) Saved(string) (bool, error) { return f.saved, nil }

// A run is one call of a command.
type run struct {
	f        *fake
	c        Command
	out, err bytes.Buffer
}

func newRun(t *testing.T, f *fake) *run {
	t.Helper()
	r := &run{f: f}
	tree := t.TempDir()
	if err := os.MkdirAll(filepath.Join(tree, "web/scaph"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeUUID(t, tree, uuidWeb)
	r.c = Command{Libvirt: f, Type: attach.Auto, Tree: Tree{Path: tree, patience: time.Millisecond}, Host: Host{Major: 7, Minor: 2}, Out: &r.out, Err: &r.err}
	return r
}

func writeUUID(t *testing.T, tree, uuid string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(tree, "web/scaph/uuid"), []byte(uuid+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func web(state vmmap.State) []vmmap.Domain {
	return []vmmap.Domain{{UUID: uuidWeb, Name: "web", State: state}}
}

// expect compares the outcome, and looks for what must be said, and by "!" must not.
func (r *run) expect(t *testing.T, ok, want bool, said ...string) {
	t.Helper()
	all := r.out.String() + r.err.String()
	if ok != want || want != (r.err.Len() == 0) {
		t.Errorf("ok is %v, not %v", ok, want)
	}
	for _, s := range said {
		not := strings.HasPrefix(s, "!")
		if strings.Contains(all, strings.TrimPrefix(s, "!")) == not {
			t.Errorf("%q: in what is said? Not as it should", s)
		}
	}
	if t.Failed() {
		t.Logf("it says\n%s", all)
	}
}

func TestAttachAndDetach(t *testing.T) {
	f := &fake{definition: plain}
	r := newRun(t, f)
	r.expect(t, r.c.Attach(t.Context(), web(vmmap.Shutoff)), true, "web: attached by virtiofs: "+r.c.Tree.Path+"/web\n", "memory becomes shared",
		"scaph-guest mount", "mount -t virtiofs", "!mount -t 9p", "7.2, refuses", "!it runs", "!AppArmor", "!SELinux", "!cannot start")
	if v, err := attach.Look([]byte(f.definition)); err != nil || v.Share != attach.Virtiofs || !v.MemoryShared || !f.secrets {
		t.Errorf("%+v, %v, with secrets %v", v, err, f.secrets)
	}
	again := newRun(t, f)
	again.c.Tree = r.c.Tree
	again.expect(t, again.c.Attach(t.Context(), web(vmmap.Shutoff)), true, "attached already, by virtiofs")
	if f.defined != 1 {
		t.Errorf("defined %d times", f.defined)
	}
	back := newRun(t, f)
	back.expect(t, back.c.Detach(t.Context(), web(vmmap.Shutoff)), true, "web: detached\n")
	back.expect(t, back.c.Detach(t.Context(), web(vmmap.Shutoff)), true, "web: not attached\n")
	if f.definition != plain || f.defined != 2 {
		t.Errorf("defined %d times: %s", f.defined, f.definition)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	f := &fake{definition: plain, live: shared}
	r := newRun(t, f)
	r.c.DryRun, r.c.Live, r.c.Type = true, true, attach.NineP
	r.c.Tree.NotServed = errors.New("not looked at")
	r.expect(t, r.c.Attach(t.Context(), web(vmmap.Running)), true, "--- web\n+++ web\n@@", "\n+    <filesystem type='mount' accessmode='passthrough'>\n", "!scaph-guest")
	if f.defined != 0 || len(f.plugged) != 0 || f.secrets {
		t.Errorf("%+v", f)
	}
	if err := f.Define(attachedBy9p(t)); err != nil {
		t.Fatal(err)
	}
	r.expect(t, r.c.Detach(t.Context(), web(vmmap.Running)), true, "\n-    <filesystem type='mount' accessmode='passthrough'>\n")
	if f.definition != attachedBy9p(t) {
		t.Error("changed")
	}
}

func attachedBy9p(t *testing.T) string {
	t.Helper()
	r, err := attach.Attach([]byte(plain), attach.Share{Type: attach.NineP, Source: "/tree/web"})
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Document)
}

func TestRunning(t *testing.T) {
	for _, c := range []struct {
		title   string
		live    string
		asked   attach.Type
		now     bool // --live
		plugErr error
		ok      bool
		plugged int
		said    []string
	}{
		{"not asked for", shared, attach.Virtiofs, false, nil, true, 0, []string{"it runs: it has it after a stop and a start (virsh shutdown web, then virsh start web"}},
		{"plugged in", shared, attach.Virtiofs, true, nil, true, 1, []string{"it runs, and the meter is plugged in"}},
		{"9p", shared, attach.NineP, true, nil, false, 0, []string{"web: not plugged in: 9p cannot be plugged into", "virsh start web"}},
		{"private memory", plain, attach.Virtiofs, true, nil, false, 0, []string{"memory that is not shared", "virsh start web"}},
		{"libvirt refuses", shared, attach.Virtiofs, true, errors.New("no more available PCI slots"), false, 0, []string{"not plugged in: no more available PCI slots: "}},
	} {
		t.Run(c.title, func(t *testing.T) {
			f := &fake{definition: plain, live: c.live, plugErr: c.plugErr}
			r := newRun(t, f)
			r.c.Type, r.c.Live = c.asked, c.now
			r.expect(t, r.c.Attach(t.Context(), web(vmmap.Running)), c.ok, append(c.said, "web: attached by "+string(c.asked))...)
			if len(f.plugged) != c.plugged || f.defined != 1 {
				t.Errorf("plugged %d, defined %d times", len(f.plugged), f.defined)
			}
		})
	}
}

func TestDetachRunning(t *testing.T) {
	with := strings.Replace(shared, "</devices>", attach.Share{Type: attach.Virtiofs, Source: "/s"}.Device()+"</devices>", 1)
	with9p := strings.Replace(shared, "</devices>", attach.Share{Type: attach.NineP, Source: "/s"}.Device()+"</devices>", 1)
	for _, c := range []struct {
		title string
		live  string
		now   bool
		stays bool
		ok    bool
		said  string
	}{
		{"not asked for", with, false, false, true, "it runs: it has it until it is stopped"},
		{"taken out", with, true, false, true, "the meter is taken out of the VM that runs"},
		{"9p", with9p, true, false, false, "9p cannot be taken out"},
		{"it has none", shared, true, false, true, "web: detached"},
	} {
		t.Run(c.title, func(t *testing.T) {
			f := &fake{definition: attachedBy9p(t), live: c.live, stubborn: c.stays}
			r := newRun(t, f)
			r.c.Live = c.now
			r.expect(t, r.c.Detach(t.Context(), web(vmmap.Running)), c.ok, c.said)
			if f.definition != plain {
				t.Errorf("the definition is %s", f.definition)
			}
		})
	}
}

// A guest that keeps the share is not waited for longer than the command's caller wants.
func TestDetachFromStubbornGuest(t *testing.T) {
	f := &fake{live: strings.Replace(shared, "</devices>", attach.Share{Type: attach.Virtiofs, Source: "/s"}.Device()+"</devices>", 1), stubborn: true}
	r := newRun(t, f)
	r.c.Live = true
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.c.detachLive(ctx, web(vmmap.Running)[0]); err == nil || !strings.Contains(err.Error(), "unmount it there") {
		t.Error(err)
	}
}

func TestTransient(t *testing.T) {
	f := &fake{live: shared}
	r := newRun(t, f)
	r.expect(t, r.c.Attach(t.Context(), web(vmmap.Running)), false, "web: libvirt keeps no definition of it", "--live")
	r = newRun(t, f)
	r.c.Live = true
	r.expect(t, r.c.Attach(t.Context(), web(vmmap.Running)), true, "web: plugged in by virtiofs, until it stops")
	r.expect(t, r.c.Attach(t.Context(), web(vmmap.Running)), true, "it has the meter, by virtiofs")
	r.expect(t, r.c.Detach(t.Context(), web(vmmap.Running)), true, "taken out")
	if v, err := attach.Look([]byte(f.live)); len(f.plugged) != 1 || err != nil || v.Share != "" {
		t.Errorf("plugged %q, and then %s", f.plugged, f.live)
	}
	r.c.Live = false
	if r.c.Detach(t.Context(), web(vmmap.Running)) {
		t.Error("detached without --live")
	}
}

func TestLibvirtDecides(t *testing.T) {
	noVirtiofs := func(document string) error {
		if strings.Contains(document, "virtiofs") {
			return errors.New("unsupported configuration: no virtiofs here")
		}
		return nil
	}
	f := &fake{definition: plain, refuses: noVirtiofs}
	r := newRun(t, f)
	r.expect(t, r.c.Attach(t.Context(), web(vmmap.Shutoff)), true, "attached by 9p", "not by virtiofs: unsupported configuration: no virtiofs here", "mount -t 9p", "while the guest has its meter mounted")
	f = &fake{definition: plain, refuses: noVirtiofs}
	r = newRun(t, f)
	r.c.Type = attach.Virtiofs
	r.expect(t, r.c.Attach(t.Context(), web(vmmap.Shutoff)), false, "web: libvirt does not take the definition: unsupported configuration", "!scaph-guest")
	f = &fake{definition: plain, refuses: func(string) error { return errors.New("access denied") }}
	r = newRun(t, f)
	r.expect(t, r.c.Attach(t.Context(), web(vmmap.Shutoff)), false, "by virtiofs: access denied; by 9p: access denied")
	if f.definition != plain {
		t.Error("changed")
	}
}

func TestDirectory(t *testing.T) {
	f := &fake{definition: plain}
	r := newRun(t, f)
	writeUUID(t, r.c.Tree.Path, uuidDB)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that it is asked once
	if err := r.c.Tree.await(ctx, filepath.Join(r.c.Tree.Path, "web"), uuidWeb); !errors.Is(err, errForeign) || !strings.Contains(err.Error(), uuidDB) {
		t.Errorf("another VM's directory: %v", err)
	}
	if err := r.c.Tree.await(ctx, filepath.Join(r.c.Tree.Path, "none"), uuidWeb); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if err := os.Remove(filepath.Join(r.c.Tree.Path, "web/scaph/uuid")); err != nil {
		t.Fatal(err)
	}
	if err := r.c.Tree.await(ctx, filepath.Join(r.c.Tree.Path, "web"), uuidWeb); err != nil {
		t.Errorf("an empty directory, of a VM whose profile is off: %v", err)
	}
	r.c.Tree.NotServed = errors.New("it is not mounted")
	r.expect(t, r.c.Attach(t.Context(), web(vmmap.Shutoff)), true, "it cannot start before "+r.c.Tree.Path+"/web is there (it is not mounted): start scaph-host")
}

func TestAnotherVMsMeterIsNotShared(t *testing.T) {
	f := &fake{definition: plain}
	r := newRun(t, f)
	writeUUID(t, r.c.Tree.Path, uuidDB)
	r.expect(t, r.c.Attach(t.Context(), web(vmmap.Shutoff)), false, "shows the meter of another VM, "+uuidDB)
	if f.defined != 0 {
		t.Error("it was attached")
	}
}

func TestAdvice(t *testing.T) {
	f := &fake{definition: plain, saved: true}
	r := newRun(t, f)
	r.c.Host = Host{AppArmor: true, SELinux: true, Major: 8, Minor: 2}
	r.expect(t, r.c.Attach(t.Context(), web(vmmap.Shutoff)), true, "AppArmor is active", "SELinux is enforcing", "managed save", "qemu 8.2 can, with a virtiofsd that can too")
	f = &fake{definition: strings.Replace(plain, "<devices>", "<memoryBacking><source type='file'/></memoryBacking><devices>", 1)}
	r = newRun(t, f)
	r.c.Tree.Path = "/var/lib/libvirt/scaphandre"
	r.c.Tree.NotServed = errors.New("none")
	r.c.Host = Host{AppArmor: true}
	r.expect(t, r.c.Attach(t.Context(), web(vmmap.Shutoff)), true, "memory_backing_dir", "!AppArmor", "qemu before 8.2 refuses them")
}

func TestOneFailureStopsNoOther(t *testing.T) {
	f := &fake{definition: plain}
	r := newRun(t, f)
	vms := append([]vmmap.Domain{{UUID: uuidDB, Name: "odd\nname"}}, web(vmmap.Shutoff)...)
	r.c.Libvirt = failing{f}
	r.expect(t, r.c.Attach(t.Context(), vms), false, `"odd\nname": domain not found`, "web: attached by")
}

type failing struct{ *fake }

func (f failing) Definition(uuid string, secrets bool) (string, error) {
	if uuid == uuidDB {
		return "", errors.New("domain not found")
	}
	return f.fake.Definition(uuid, secrets)
}

func TestLookAtHost(t *testing.T) {
	root := t.TempDir()
	h := LookAtHost(root, filepath.Join(root, "sys"))
	if h.AppArmor || h.SELinux || !strings.Contains(h.NoVirtiofs, "no virtiofsd is registered") {
		t.Errorf("%+v", h)
	}
	for path, text := range map[string]string{
		"usr/share/qemu/vhost-user/40-gpu.json":       `{"type": "gpu", "binary": "/x"}`,
		"usr/share/qemu/vhost-user/10-broken.json":    `{"type": "fs"`,
		"usr/share/qemu/vhost-user/50-virtiofsd.json": `{"type": "fs", "binary": "/usr/libexec/virtiofsd", "features": ["migrate-precopy"]}`,
		"sys/module/apparmor/parameters/enabled":      "Y\n",
		"sys/fs/selinux/enforce":                      "1",
	} {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if h = LookAtHost(root, filepath.Join(root, "sys")); h != (Host{AppArmor: true, SELinux: true}) {
		t.Errorf("%+v", h)
	}
	if err := os.Remove(filepath.Join(root, "usr/share/qemu/vhost-user/50-virtiofsd.json")); err != nil {
		t.Fatal(err)
	}
	if h = LookAtHost(root, root); h.NoVirtiofs == "" {
		t.Error("a gpu is taken for virtiofsd")
	}
}
