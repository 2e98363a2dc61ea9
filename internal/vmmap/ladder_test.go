package vmmap

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/proc"
)

var errAway = errors.New("libvirtd is away")

// owners returns which process has each name.
func owners(m *Mapper) map[string]int32 {
	names := map[string]int32{}
	for _, vm := range m.Current().VMs {
		names[vm.Name] = vm.Process.PID
	}
	return names
}

// A name is the tree's plain directory: an ordinary user who takes it reads and publishes in a
// domain's stead.
func TestAWeakerRungNeverTakesAName(t *testing.T) {
	const low = "00000000-0000-4000-8000-000000000000"
	domain := Domain{ID: 1, UUID: uuidA, Name: "web", State: Running}
	off := Domain{UUID: uuidA, Name: "web", State: Shutoff}
	genuine, forger := qemu(20, 500, system, "web", uuidA), qemu(10, 100, 65534, "web", low) // older, and first in any order
	for title, c := range map[string]struct {
		libvirt Lister
		prepare func(*fakeHost)
	}{
		"libvirt":         {&fakeLibvirt{domains: []Domain{domain}}, func(h *fakeHost) { h.start(genuine) }},
		"libvirt, off":    {&fakeLibvirt{domains: []Domain{off}}, func(*fakeHost) {}},
		"runtime files":   {nil, func(h *fakeHost) { h.start(genuine); h.status(1, "web", uuidA, 20) }},
		"system accounts": {nil, func(h *fakeHost) { h.start(genuine) }},
	} {
		t.Run(title, func(t *testing.T) {
			h := newFakeHost(t, forger)
			m := h.mapper(nil)
			if look(t, m)[low].Name != "web" {
				t.Fatal("nobody has the name, and the user's VM does not get it")
			}
			m.config.Libvirt = c.libvirt
			c.prepare(h)
			for range 3 {
				vms := look(t, m)
				if vms[uuidA].Name != "web" || vms[low].Name != "web ("+low+")" {
					t.Fatalf("got %+v", vms)
				}
			}
			if m.Conflicts() != 1 {
				t.Errorf("%d conflicts, want one that is counted once", m.Conflicts())
			}
		})
	}
}

func proxmox(pid, start int, id, name string, more ...string) fakeProcess {
	return fakeProcess{pid: pid, parent: 1, start: start, exe: "/usr/bin/qemu-system-x86_64", cgroup: "/qemu.slice/" + id + ".scope",
		argv: append([]string{"-id", id, "-name", name + ",debug-threads=on", "-smp", "4"}, more...)}
}

// Proxmox has two VMs of one name: the one that has it keeps it, whatever becomes of the other.
func TestTwoVMsOfOneNameAreToldApartByTheirID(t *testing.T) {
	h := newFakeHost(t, proxmox(30, 900, "101", "web"))
	m := h.mapper(nil)
	look(t, m)
	h.start(proxmox(20, 500, "100", "web"))
	expect := func(when string, want map[string]int32) {
		t.Helper()
		for range 2 {
			look(t, m)
			if got := owners(m); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
	}
	expect("an older one comes", map[string]int32{"web": 30, "web (100)": 20})
	m2 := h.mapper(nil)
	look(t, m2) // the first look of another run knows nothing, and gives it to the older
	m2.Restore(m.Current().VMs, nil)
	m = m2
	expect("another run", map[string]int32{"web": 30, "web (100)": 20})
	h.end(30)
	expect("the one that has it stops", map[string]int32{"web (100)": 20})
	h.start(proxmox(31, 990, "101", "web"))
	expect("and starts again", map[string]int32{"web": 31, "web (100)": 20})
	h.end(20)
	h.start(proxmox(21, 995, "100", "web"))
	expect("the other one starts again", map[string]int32{"web": 31, "web (100)": 21})
}

// A name that is made to look like the one that another VM has in its stead takes nothing either.
func TestANameThatLooksLikeAnotherOnes(t *testing.T) {
	h := newFakeHost(t, proxmox(20, 500, "100", "web"), proxmox(21, 510, "101", "web"), qemu(10, 100, 1000, "web (101)", uuidA))
	m := h.mapper(nil)
	look(t, m)
	if got, want := owners(m), (map[string]int32{"web": 20, "web (101)": 21, "web (101) (" + uuidA + ")": 10}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A clone of Proxmox's may keep its original's UUID: both are VMs, and stay the ones that they
// were.
func TestTwoVMsOfOneUUIDAreToldApartByTheirID(t *testing.T) {
	smbios := []string{"-smbios", "type=1,uuid=" + uuidA}
	h := newFakeHost(t, proxmox(20, 500, "100", "web", smbios...), proxmox(21, 510, "101", "clone", smbios...))
	m := h.mapper(nil)
	own := derivedUUID(identity{id: "101"}, 0)
	for range 2 {
		if vms := look(t, m); len(vms) != 2 || vms[uuidA].Process.PID != 20 || vms[own].Process.PID != 21 || !vms[own].Derived {
			t.Fatalf("got %+v", vms)
		}
	}
	if m.Conflicts() != 1 {
		t.Errorf("%d conflicts, want the one over the UUID", m.Conflicts())
	}
	h.end(20)
	if vms := look(t, m); len(vms) != 1 || vms[own].Process.PID != 21 {
		t.Errorf("the original has stopped, and the clone has its meter: %+v", vms)
	}
}

// Among equals whoever has a UUID keeps it: an older process can ask for it later, when it executes
// a qemu.
func TestAmongEqualsWhoeverHasItKeepsIt(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, 1000, "mine", uuidA), fakeProcess{pid: 10, start: 100, uid: 1001, exe: "/bin/sh"})
	m := h.mapper(nil)
	look(t, m)
	h.start(qemu(10, 100, 1001, "yours", uuidA))
	if vms := look(t, m); vms[uuidA].Process.PID != 20 || m.Conflicts() != 1 {
		t.Errorf("got %+v, %d conflicts", vms, m.Conflicts())
	}
	h.end(20)
	if vms := look(t, m); vms[uuidA].Process.PID != 10 {
		t.Errorf("nobody else has it, but: %+v", vms)
	}
}

// Command lines of one user make so many VMs and no more, whoever was there stays, and the log does
// not fill.
func TestAFloodOfClaimsIsBounded(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, system, "real", uuidA), qemu(21, 501, 1000, "small", uuidB))
	var log bytes.Buffer
	m := h.logging(nil, &log)
	look(t, m)
	const flood = 500
	for i := range flood {
		h.start(qemu(1000+i, 100, 65534, fmt.Sprint("vm", i), fmt.Sprintf("99999999-0000-4000-8000-%012d", i)))
	}
	for range 2 {
		vms := look(t, m)
		if len(vms) != 2+maxOfAccount || vms[uuidA].Process.PID != 20 || vms[uuidB].Process.PID != 21 {
			t.Fatalf("%d VMs, genuine: %+v, small: %+v", len(vms), vms[uuidA], vms[uuidB])
		}
	}
	if want := uint64(flood - maxOfAccount); m.Conflicts() != want {
		t.Errorf("%d conflicts, want %d", m.Conflicts(), want)
	}
	if lines := strings.Count(log.String(), "\n"); lines != maxLogged+1 {
		t.Errorf("%d lines in the log, want %d", lines, maxLogged+1)
	}
	before := byUUID(m.Current())
	for i := range 5 * maxOfAccount { // older ones of five more users
		h.start(qemu(10_000+i, 50, 2000+i%5, fmt.Sprint("more", i), fmt.Sprintf("88888888-0000-4000-8000-%012d", i)))
	}
	after := look(t, m)
	if len(after) != 1+maxOfAccounts {
		t.Errorf("%d VMs, want %d", len(after), 1+maxOfAccounts)
	}
	for uuid, vm := range before {
		if after[uuid].Process != vm.Process {
			t.Errorf("%s had to go", vm.Name)
		}
	}
}

// While libvirtd is away after a restart, what it had vouched for is still its own.
func TestWhatLibvirtVouchedForOutlivesARestart(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, system, "run", uuidA))
	libvirt := &fakeLibvirt{domains: []Domain{
		{ID: 1, UUID: uuidA, Name: "run", Title: "first", State: Running, Publish: "untrusted"},
		{UUID: uuidB, Name: "off", Project: "acme", State: Shutoff},
	}}
	m := h.mapper(libvirt)
	h.status(2, "gone", "33333333-2222-4333-8444-555555555555", 30)
	h.start(qemu(30, 600, system, "gone", "33333333-2222-4333-8444-555555555555"))
	look(t, m)
	h.end(30)
	look(t, m)
	last := m.Current()

	h.start(qemu(40, 100, 1000, "off", uuidB))
	h.start(qemu(41, 100, 1000, "gone", "33333333-2222-4333-8444-555555555555"))
	h.start(qemu(42, 100, 1000, "off", "44444444-2222-4333-8444-555555555555"))
	libvirt.err = errAway
	m = h.mapper(libvirt)
	look(t, m) // before the state is read
	m.Restore(last.VMs, last.Past)
	for range 2 {
		vms := byUUID(m.Current())
		if off := vms[uuidB]; off.State != Shutoff || off.Process != (proc.ID{}) || off.Source != FromLibvirt || off.Project != "acme" {
			t.Errorf("the domain that is shut off: %+v", off)
		}
		if run := vms[uuidA]; run.State != Running || run.Process.PID != 20 || run.Title != "first" || run.Publish != "untrusted" {
			t.Errorf("the domain that runs: %+v", run)
		}
		if _, taken := m.Current().Find(41, 100); taken {
			t.Error("a user has the UUID of a VM that has gone")
		}
		if got := vms["44444444-2222-4333-8444-555555555555"].Name; !strings.HasPrefix(got, "off (") {
			t.Errorf("a user has the name of a domain: %q", got)
		}
		if m.Current().Complete {
			t.Error("complete, though libvirt has not answered")
		}
		look(t, m)
	}
	h.start(qemu(50, 800, system, "off", uuidB))
	if off := look(t, m)[uuidB]; off.Process.PID != 50 || off.State != Running {
		t.Errorf("libvirt has started it meanwhile, but: %+v", off)
	}
	libvirt.err, libvirt.domains = nil, libvirt.domains[:1]
	if vms := look(t, m); vms[uuidB].Source != FromArgv || !m.Current().Complete {
		t.Errorf("libvirt has forgotten it, but: %+v", vms[uuidB])
	}
}

// Root of a container is whoever started the container.
func TestContainerRootIsNotTheSystem(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for title, change := range map[string]func(*fakeProcess){
		"PID namespace":   func(p *fakeProcess) { p.nested = true },
		"user namespace":  func(p *fakeProcess) { p.userns = "user:[4026532999]" },
		"Docker":          func(p *fakeProcess) { p.cgroup = "/system.slice/docker-" + id + ".scope" },
		"Docker, cgroup1": func(p *fakeProcess) { p.cgroup = "/docker/" + id + "/init" },
		"Podman":          func(p *fakeProcess) { p.cgroup = "/machine.slice/libpod-" + id + ".scope/container" },
		"Kubernetes":      func(p *fakeProcess) { p.cgroup = "/kubepods.slice/kubepods-pod1.slice/x" },
		"LXC":             func(p *fakeProcess) { p.cgroup = "/lxc/101/ns/system.slice/x.service" },
		"systemd-nspawn":  func(p *fakeProcess) { p.cgroup = "/machine.slice/machine-fedora.scope/payload" },
	} {
		t.Run(title, func(t *testing.T) {
			victim, forger := qemu(20, 500, 0, "web", uuidA), qemu(10, 100, 0, "web", uuidA)
			victim.userns, forger.userns = "user:[4026531837]", "user:[4026531837]"
			change(&forger)
			h := newFakeHost(t, fakeProcess{pid: 1, start: 1, exe: "/sbin/init", cgroup: "/init.scope"}, forger)
			h.link(victim.userns, filepath.Join(h.proc, "self/ns/user"))
			m := h.mapper(nil)
			if vm := look(t, m)[uuidA]; !vm.Ordinary {
				t.Errorf("alone: %+v", vm)
			}
			h.start(victim)
			if vm := look(t, m)[uuidA]; vm.Process.PID != 20 || vm.Ordinary || m.Conflicts() != 1 {
				t.Errorf("got %+v, %d conflicts", vm, m.Conflicts())
			}
			h.end(20)
			if vms := look(t, m); len(vms) != 0 {
				t.Errorf("it has gone, and: %+v", vms)
			}
		})
	}
	t.Run("where we are in it too", func(t *testing.T) {
		first := fakeProcess{pid: 1, start: 1, exe: "/sbin/init", cgroup: "/docker/" + id}
		vm := qemu(20, 500, 0, "web", uuidA)
		vm.cgroup = first.cgroup
		if got := look(t, newFakeHost(t, first, vm).mapper(nil))[uuidA]; got.Ordinary {
			t.Errorf("got %+v", got)
		}
	})
}

// A domain that started after libvirt was asked is no conflict, and known at once.
func TestADomainThatJustStarted(t *testing.T) {
	h := newFakeHost(t)
	libvirt := &fakeLibvirt{domains: []Domain{{UUID: uuidA, Name: "web", State: Shutoff}, {UUID: uuidB, Name: "db", State: Shutoff}}}
	m := h.mapper(libvirt)
	look(t, m)
	h.start(qemu(20, 500, system, "web", uuidA))
	h.start(qemu(30, 600, 1000, "db", uuidB))
	m.noticed.open(true)
	m.noticed.add([]proc.ID{{PID: 20, Start: 500}, {PID: 30, Start: 600}})
	if !m.glance(t.Context()) {
		t.Error("a system account's qemu is no reason to ask libvirt")
	}
	vms := byUUID(m.Current())
	if vms[uuidA].Process.PID != 20 || vms[uuidA].State != Running || vms[uuidB].Process != (proc.ID{}) || m.Conflicts() != 0 {
		t.Errorf("got %+v, %d conflicts", vms, m.Conflicts())
	}
	if libvirt.asked != 1 {
		t.Error("libvirt was asked on the way")
	}
	libvirt.domains[0].State = Running
	if err := m.refresh(t.Context(), false); err != nil || libvirt.asked != 2 {
		t.Errorf("%v; the next scan asked it %d times", err, libvirt.asked-1)
	}
	if m.Conflicts() != 1 { // db is still off
		t.Errorf("%d conflicts, want the user's", m.Conflicts())
	}
}

// A runtime file that outlives its process, say while libvirtd is away, vouches for nothing that a
// user starts under the same process id.
func TestAStaleRuntimeFileVouchesForNobody(t *testing.T) {
	for title, stale := range map[string]bool{"fresh": false, "stale": true} {
		for _, file := range []string{"web.xml", "web.pid"} {
			t.Run(title+" "+file, func(t *testing.T) {
				h := newFakeHost(t, qemu(20, 90_000, 1000, "web", uuidA)) // 100 s old
				h.status(1, "web", uuidA, 20)
				if file == "web.pid" {
					if err := os.Remove(filepath.Join(h.runtime, "web.xml")); err != nil {
						t.Fatal(err)
					}
				}
				if stale {
					written := time.Now().Add(-200 * time.Second)
					if err := os.Chtimes(filepath.Join(h.runtime, file), written, written); err != nil {
						t.Fatal(err)
					}
				}
				m := h.mapper(nil)
				if vm := look(t, m)[uuidA]; vm.Ordinary != stale || (vm.Source == FromRuntime) == stale {
					t.Errorf("got %+v", vm)
				}
				h.start(qemu(20, 90_000, system, "web", uuidA))
				if vm := look(t, h.mapper(nil))[uuidA]; vm.Source != FromRuntime {
					t.Errorf("of libvirt's own account: %+v", vm)
				}
			})
		}
	}
}

func TestHidepidIsSaid(t *testing.T) {
	dir := mountHiding(t)
	if got := hidepid(dir); got != "hidepid=invisible" && got != "hidepid=2" {
		t.Errorf("the option is %q", got)
	}
	if got := hidepid(filepath.Join(dir, "self")); got != "" {
		t.Errorf("of no mount: %q", got)
	}
}
