//go:build lab

package lab

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/test/wait"
)

// TestAttach gives VMs their meter as an operator does, by one command, and takes it away.
func TestAttach(t *testing.T) {
	useLibvirtd(t)
	r := startRAPL(t)
	m := newMeter(t, r)
	m.start(t)
	r.resume(t)
	t.Run("virtiofs", func(t *testing.T) { t.Parallel(); testAttach(t, m, "virtiofs", "--type=auto") })
	t.Run("9p", func(t *testing.T) { t.Parallel(); testAttach(t, m, "9p", "--type=9p") })
	t.Run("Live", func(t *testing.T) { t.Parallel(); testAttachLive(t, m) })
	t.Run("Definitions", func(t *testing.T) { t.Parallel(); testAttachDefinitions(t, m) })
}

// share runs attach or detach and returns all that it says.
func (m *meter) share(t *testing.T, want int, args ...string) string {
	t.Helper()
	code, stdout, stderr := command(t, host(), append([]string{args[0], "--config", m.config}, args[1:]...)...)
	t.Logf("scaph-host %s: exit %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	if code != want {
		t.Fatalf("exit code %d, not %d", code, want)
	}
	return stdout + stderr
}

// definition is what libvirt has of a domain that is started next time, passwords and all.
func definition(t *testing.T, name string) string {
	t.Helper()
	code, stdout, stderr := virsh(t, "dumpxml", "--inactive", "--security-info", name)
	if code != 0 {
		t.Fatalf("dumpxml: %s", stderr)
	}
	return stdout
}

// testAttach: define, attach, start, and the guest has its watts.
func testAttach(t *testing.T, m *meter, by, how string) {
	vm := newGuest(t, "attach-"+by, "none", "", m.tree)
	vm.mounts = by
	vm.define(t)
	plain := definition(t, vm.name)
	dry := m.share(t, 0, "attach", "--dry-run", how, vm.name)
	if !strings.Contains(dry, "\n+      <target dir='scaphandre'/>\n") || definition(t, vm.name) != plain {
		t.Error("--dry-run shows no diff, or changes something")
	}
	m.share(t, 0, "attach", how, vm.name)
	vm.start(t)
	vm.awaitBoot(t)
	if mounted := vm.cat(t, "/run/mounted-by"); mounted != "scaph-guest\n" {
		t.Errorf("the share was mounted by %q:\n%s", mounted, vm.cat(t, "/run/mount.log"))
	}
	vm.load(t, 30)
	stdout := string(vm.exec(t, "scaph-guest", "stdout", "--step", "2", "--timeout", "8").Stdout)
	t.Logf("scaph-guest stdout\n%s", stdout)
	if !showsWatts(stdout) {
		t.Error("the guest sees no watts")
	}
	if text := m.share(t, 0, "attach", vm.name); !strings.Contains(text, "attached already, by "+by) || !strings.Contains(text, "it runs, and has the meter now") {
		t.Error("attach once more does not say that it is attached")
	}
	// What attach says of migration; libvirt asks qemu the same for a save.
	code, _, stderr := virsh(t, "managedsave", vm.name)
	t.Logf("managedsave: exit %d: %s", code, stderr)
	if code == 0 {
		t.Error("a VM with a mounted meter is saved, which attach says is refused")
	}
	if text := m.share(t, 0, "detach", vm.name); !strings.Contains(text, "until it is stopped") {
		t.Error("detach does not say that the VM has its meter until it is stopped")
	}
	if now := definition(t, vm.name); now != plain {
		t.Errorf("detached, the definition is\n%s\nnot\n%s", now, plain)
	}
}

var wattsOfHost = regexp.MustCompile(`(?m)^Host: +([0-9.]+) W`)

// showsWatts reports whether a table of stdout has power in it.
func showsWatts(stdout string) bool {
	for _, m := range wattsOfHost.FindAllStringSubmatch(stdout, -1) {
		if watts, err := strconv.ParseFloat(m[1], 64); err == nil && watts > 0 {
			return true
		}
	}
	return false
}

// testAttachLive plugs a meter into a guest that runs, and takes it out.
func testAttachLive(t *testing.T, m *meter) {
	vm := newGuest(t, "live", "none", "", m.tree)
	vm.shared = true
	vm.define(t)
	plain := definition(t, vm.name)
	vm.start(t)
	vm.awaitBoot(t)
	if text := m.share(t, 1, "attach", "--live", "--type", "9p", vm.name); !strings.Contains(text, "9p cannot be plugged into a VM that runs") {
		t.Error("attach does not say why 9p is not plugged in")
	}
	m.share(t, 0, "detach", vm.uuid)
	m.share(t, 0, "attach", "--live", vm.uuid)
	wait.Until(t, "the guest finds the meter that was plugged in", 30*time.Second, func() bool {
		return vm.exec(t, "scaph-guest", "mount").Code == 0
	})
	first := vm.cat(t, guestEnergy)
	vm.load(t, 30)
	wait.Until(t, "the counter moves", 10*time.Second, func() bool { return vm.cat(t, guestEnergy) != first })
	if e := vm.exec(t, "umount", "/var/scaphandre"); e.Code != 0 {
		t.Fatalf("umount: %s", e.Stderr)
	}
	m.share(t, 0, "detach", "--live", vm.name)
	if _, live, _ := virsh(t, "dumpxml", vm.name); strings.Contains(live, "scaphandre'") {
		t.Error("the VM that runs still has the share")
	}
	if now := definition(t, vm.name); now != plain {
		t.Errorf("detached, the definition is\n%s\nnot\n%s", now, plain)
	}

	other := newGuest(t, "private", "none", "", m.tree)
	other.boots = false
	other.define(t)
	other.start(t)
	if text := m.share(t, 1, "attach", "--live", other.name); !strings.Contains(text, "memory that is not shared") {
		t.Error("attach does not say why virtiofs is not plugged in")
	}
}

// testAttachDefinitions: whatever the definition, libvirt takes it with a meter, and detach gives it back as it was, byte for
// byte as libvirt writes it.
func testAttachDefinitions(t *testing.T, m *meter) {
	cell := "<cpu><numa><cell id='0' cpus='0' memory='24' unit='MiB'%/></numa></cpu>"
	for title, c := range map[string]struct{ machine, parts, devices string }{
		"pc":           {"pc", "", ""},
		"q35":          {"q35", "", ""},
		"q35, no slot": {"q35", "", ""},
		"pc, no slot":  {"pc", "", ""},
		"locked":       {"pc", "<memoryBacking><locked/></memoryBacking><memtune><hard_limit unit='MiB'>900</hard_limit></memtune>", ""},
		"huge pages":   {"q35", "<memoryBacking><hugepages/></memoryBacking>", ""},
		"numa":         {"q35", strings.ReplaceAll(cell, "%", ""), ""},
		"numa, shared": {"q35", strings.ReplaceAll(cell, "%", " memAccess='shared'"), ""},
		"source file":  {"q35", "<memoryBacking><source type='file'/></memoryBacking>", ""},
		"anonymous":    {"q35", "<memoryBacking><source type='anonymous'/><discard/></memoryBacking>", ""},
		"metadata": {"pc", "<title>a &lt;title&gt;</title><description>two\nlines</description><metadata><n:instance xmlns:n='http://openstack.org/xmlns/libvirt/nova/1.1'>" +
			"<n:flavor name='m1'/>text <![CDATA[<x/>]]></n:instance><!-- c --><scaph:publish xmlns:scaph='urn:scaph:1' profile='off'/></metadata>", ""},
		"empty metadata": {"pc", "<metadata/>", ""},
		"passwords":      {"pc", "", "<graphics type='vnc' passwd='secret&amp;'/>"},
		"filesystems":    {"q35", "", "<filesystem type='mount' accessmode='mapped'><source dir='/srv'/><target dir='srv'/><readonly/></filesystem>"},
		"command line":   {"pc", "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-S'/><qemu:env name='A' value='b'/></qemu:commandline>", ""},
	} {
		t.Run(title, func(t *testing.T) {
			vm := newGuest(t, "definition", "none", "", m.tree).domain
			vm.name += " " + strings.ReplaceAll(title, ",", "") // with spaces, as an operator may
			text := "<domain type='qemu'><name>" + vm.name + "</name><uuid>" + vm.uuid + "</uuid><memory unit='MiB'>24</memory><vcpu>1</vcpu>" +
				"<os><type arch='x86_64' machine='" + c.machine + "'>hvm</type></os><features><acpi/></features>" + c.parts + "<devices>" + c.devices + "</devices></domain>"
			redefine(t, vm.uuid, text)
			t.Cleanup(func() { removeDomain(t, vm.uuid) })
			if strings.HasSuffix(title, "no slot") {
				fill(t, vm.uuid)
			}
			plain := definition(t, vm.uuid)
			for _, by := range []string{"virtiofs", "9p"} {
				m.share(t, 0, "attach", "--type", by, vm.name)
				with := definition(t, vm.uuid)
				if !strings.Contains(with, "<target dir='scaphandre'/>") || !strings.Contains(with, "urn:scaph:attach:1") {
					t.Errorf("by %s, libvirt has\n%s", by, with)
				}
				if strings.HasSuffix(title, "no slot") && buses(with) == buses(plain) {
					t.Error("libvirt has found a slot")
				}
				m.share(t, 0, "attach", "--type", by, vm.uuid)
				if again := definition(t, vm.uuid); again != with {
					t.Errorf("attach once more changes it to\n%s", again)
				}
				m.share(t, 0, "detach", vm.name)
				if now := definition(t, vm.uuid); now != plain {
					t.Errorf("by %s: attached\n%s\ndetached\n%s\nnot\n%s", by, with, now, plain)
				}
			}
		})
	}
}

// redefine has libvirt take a definition.
func redefine(t *testing.T, uuid, text string) {
	t.Helper()
	path := filepath.Join(built.logs, uuid+".xml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	mustVirsh(t, "define", path)
}

func buses(definition string) int { return strings.Count(definition, "<controller type='pci'") }

// fill adds devices until no slot is free: libvirt has to add a controller for the next.
func fill(t *testing.T, uuid string) {
	t.Helper()
	const device = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices>"
	for range 40 {
		full := definition(t, uuid)
		redefine(t, uuid, strings.Replace(full, "</devices>", device, 1))
		if buses(definition(t, uuid)) > buses(full) {
			redefine(t, uuid, full)
			return
		}
	}
	t.Fatal("there is always a slot")
}
