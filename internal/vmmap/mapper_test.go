package vmmap

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/proc"
)

// SCAPHANDRE's fault 4: whatever had qemu-system in its command line was a VM, and qemu-kvm was not.
func TestOnlyARealQemuIsAVM(t *testing.T) {
	h := newFakeHost(t,
		fakeProcess{pid: 10, exe: "/usr/bin/grep", argv: []string{"qemu-system-x86_64", "-uuid", uuidA, "-name", "grep"}},
		fakeProcess{pid: 11, exe: "/usr/bin/python3.11", comm: "qemu-system-x86", argv: []string{"-name", "guest=liar", "-uuid", uuidB}},
		fakeProcess{pid: 12, exe: "/usr/bin/qemu-system-x86_64", argv: []string{"-S", "-machine", "none", "-qmp", "unix:/x"}}, // libvirt's probe
		fakeProcess{pid: 13, exe: "/usr/libexec/qemu-kvm (deleted)", argv: []string{"-name", "guest=rhel", "-uuid", "22222222-2222-4333-8444-555555555555"}},
		fakeProcess{pid: 14, exe: "/usr/bin/kvm", argv: []string{"-id", "100", "-name", "proxmox"}},
	)
	vms := look(t, h.mapper(nil))
	var names []string
	for _, vm := range vms {
		names = append(names, vm.Name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"proxmox", "rhel"}) {
		t.Errorf("VMs: %q", names)
	}
	derived := vms[derivedUUID(identity{id: "100"}, 0)]
	if !derived.Derived || derived.Source != FromArgv || derived.Process.PID != 14 {
		t.Errorf("Proxmox's machine: %+v", derived)
	}
}

// SCAPHANDRE's fault 5: a user's process that named itself after a victim was added to the victim's meter.
func TestAnArgvClaimNeverTakesAVM(t *testing.T) {
	victim := qemu(20, 500, system, "victim", uuidA)
	forger := qemu(10, 100, 1000, "victim", uuidA) // older, and with a lower pid
	cases := []struct {
		title   string
		prepare func(*fakeHost) Lister
		source  Source
	}{
		{"libvirt and runtime files", func(h *fakeHost) Lister {
			h.status(1, "victim", uuidA, 20)
			return &fakeLibvirt{domains: []Domain{{ID: 1, UUID: uuidA, Name: "victim", State: Running}}}
		}, FromLibvirt},
		{"libvirt alone", func(*fakeHost) Lister {
			return &fakeLibvirt{domains: []Domain{{ID: 1, UUID: uuidA, Name: "victim", State: Running}}}
		}, FromLibvirt},
		{"runtime files alone", func(h *fakeHost) Lister { h.status(1, "victim", uuidA, 20); return nil }, FromRuntime},
		{"pid file alone", func(h *fakeHost) Lister { h.pidFile("victim.pid", 20); return nil }, FromRuntime},
		{"command lines", func(*fakeHost) Lister { return nil }, FromArgv},
	}
	for _, c := range cases {
		t.Run(c.title, func(t *testing.T) {
			h := newFakeHost(t, victim, forger)
			m := h.mapper(c.prepare(h))
			vms := look(t, m)
			if vm := vms[uuidA]; len(vms) != 1 || vm.Process.PID != 20 || vm.Source != c.source || vm.Name != "victim" {
				t.Errorf("got %+v", vms)
			}
			if _, ok := m.Current().Find(10, 100); ok {
				t.Error("the forger is taken for the VM")
			}
			look(t, m)
			if m.Conflicts() != 1 {
				t.Errorf("%d conflicts, want one that is counted once", m.Conflicts())
			}
		})
	}
}

func TestAShutOffDomainCannotBeClaimed(t *testing.T) {
	h := newFakeHost(t, qemu(10, 100, 0, "victim", uuidA))
	m := h.mapper(&fakeLibvirt{domains: []Domain{{UUID: uuidA, Name: "victim", State: Shutoff}}})
	vm := look(t, m)[uuidA]
	if vm.State != Shutoff || vm.Process != (proc.ID{}) || m.Conflicts() != 1 {
		t.Errorf("got %+v, %d conflicts", vm, m.Conflicts())
	}
}

// Of two claims with equal right the older process wins, whatever its process id.
func TestTheOlderClaimWins(t *testing.T) {
	h := newFakeHost(t, qemu(10, 600, 1000, "young", uuidA), qemu(20, 500, 1001, "old", uuidA))
	m := h.mapper(nil)
	if vms := look(t, m); len(vms) != 1 || vms[uuidA].Name != "old" || m.Conflicts() != 1 {
		t.Errorf("got %+v, %d conflicts", vms, m.Conflicts())
	}
}

// A status document is read again when libvirt has written it again.
func TestAChangedStatusIsRead(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, system, "a", uuidA))
	h.status(1, "a", uuidA, 20)
	m := h.mapper(nil)
	look(t, m)
	status := filepath.Join(h.runtime, "a.xml")
	text, err := os.ReadFile(status)
	if err != nil {
		t.Fatal(err)
	}
	h.write(status, strings.Replace(string(text), "<vcpu>2", "<vcpu>3", 1)) // as long as before
	later := time.Now().Add(time.Second)
	if err := os.Chtimes(status, later, later); err != nil {
		t.Fatal(err)
	}
	if a := look(t, m)[uuidA]; a.VCPUs != 3 {
		t.Errorf("got %+v", a)
	}
}

// A UUID that was libvirt's stays out of reach of ordinary users after libvirt forgets it.
func TestAVouchedUUIDCannotBeClaimedByAnOrdinaryUser(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, system, "victim", uuidA))
	h.status(1, "victim", uuidA, 20)
	m := h.mapper(nil)
	look(t, m)
	h.end(20)
	h.start(qemu(30, 600, 1000, "victim", uuidA))
	if vms := look(t, m); len(vms) != 0 {
		t.Errorf("the user's process took it: %+v", vms)
	}
	h.start(qemu(40, 700, 0, "victim", uuidA))
	if vm := look(t, m)[uuidA]; vm.Process.PID != 40 {
		t.Errorf("root's process did not: %+v", vm)
	}
}

// SCAPHANDRE's fault 6: cut names were shared, and a name used again had the old total.
func TestNamesAreOnlyLabels(t *testing.T) {
	hostile := []string{"../../x", "a,,b", "a=b", "a\nb", "\xff\xfe", ".", "..", ".hidden", "web", "web", strings.Repeat("n", 4000), ""}
	h := newFakeHost(t)
	want := map[string]string{}
	for i, name := range hostile {
		uuid := uuidA[:34] + strconv.Itoa(10+i)
		h.start(qemu(100+i, 1, system, name, uuid))
		want[uuid] = label(strings.ReplaceAll(name, ",,", ","))
	}
	second := uuidA[:34] + strconv.Itoa(10+slices.Index(hostile, "web")+1)
	want[second] = "web (" + second + ")"                                                           // the name is taken
	want[uuidA[:34]+strconv.Itoa(10+len(hostile)-1)] = uuidA[:34] + strconv.Itoa(10+len(hostile)-1) // no name: its UUID
	vms := look(t, h.mapper(nil))
	for uuid, name := range want {
		if vms[uuid].Name != name {
			t.Errorf("%s is named %q, want %q", uuid, vms[uuid].Name, name)
		}
	}
	if len(vms) != len(hostile) {
		t.Errorf("%d VMs, want %d", len(vms), len(hostile))
	}
}

const scopeA = `/machine.slice/machine-qemu\x2d1\x2da.scope`

func TestHelpers(t *testing.T) {
	a, b := qemu(20, 500, system, "a", uuidA), qemu(30, 600, system, "b", uuidB)
	a.cgroup = scopeA + "/libvirt/emulator"
	h := newFakeHost(t, a, b,
		fakeProcess{pid: 18, parent: 1, start: 490, exe: "/usr/libexec/virtiofsd", cgroup: scopeA + "/libvirt/emulator"}, // by cgroup
		fakeProcess{pid: 19, parent: 18, start: 491, exe: "/usr/libexec/virtiofsd"},                                      // its child
		fakeProcess{pid: 28, parent: 1, start: 590, exe: "/usr/bin/swtpm"},                                               // by pid file
		fakeProcess{pid: 29, parent: 1, start: 591, exe: "/usr/bin/passt.avx2"},
		fakeProcess{pid: 31, parent: 30, start: 610, exe: "/usr/lib/qemu/qemu-bridge-helper"}, // by parent
		fakeProcess{pid: 40, parent: 1, start: 5, exe: "/usr/sbin/libvirtd"},
		fakeProcess{pid: 41, parent: 30, start: 5, exe: "/usr/bin/older"}, // its parent's id was used again
		fakeProcess{pid: 42, parent: 43, start: 5, exe: "/usr/bin/loop"},
		fakeProcess{pid: 43, parent: 42, start: 5, exe: "/usr/bin/loop"},
	)
	h.status(1, "a", uuidA, 20)
	h.status(2, "b", uuidB, 30)
	h.pidFile("swtpm/2-b-swtpm.pid", 28)
	h.pidFile("passt/2-b-net0.pid", 29)
	h.pidFile("2-b-stale-fs.pid", 40) // a process id that was used again
	h.pidFile("driver.pid", 40)
	m := h.mapper(nil)
	vms := look(t, m)
	if got, want := vms[uuidA].Helpers, []proc.ID{{PID: 18, Start: 490}, {PID: 19, Start: 491}}; !slices.Equal(got, want) {
		t.Errorf("helpers of a: %v, want %v", got, want)
	}
	if got, want := vms[uuidB].Helpers, []proc.ID{{PID: 28, Start: 590}, {PID: 29, Start: 591}, {PID: 31, Start: 610}}; !slices.Equal(got, want) {
		t.Errorf("helpers of b: %v, want %v", got, want)
	}
	current := m.Current()
	if i, ok := current.Find(19, 491); !ok || current.VMs[i].UUID != uuidA {
		t.Error("the child of virtiofsd is not found")
	}
	if _, ok := current.Find(19, 490); ok {
		t.Error("found with another start time")
	}
}

// A process that a VM's qemu forked has its command line; it is neither a VM nor a forger.
func TestAForkOfAQemuIsItsHelper(t *testing.T) {
	fork := qemu(21, 600, system, "a", uuidA)
	fork.parent = 20
	h := newFakeHost(t, qemu(20, 500, system, "a", uuidA), fork)
	h.status(1, "a", uuidA, 20)
	m := h.mapper(nil)
	if a := look(t, m)[uuidA]; a.Process.PID != 20 || !slices.Equal(a.Helpers, []proc.ID{{PID: 21, Start: 600}}) || m.Conflicts() != 0 {
		t.Errorf("got %+v, %d conflicts", a, m.Conflicts())
	}
}

// A process is put into its machine's cgroup after it has started: a helper is found there at the next look, and any other
// when it is no longer young.
func TestHelpersThatAreMovedLater(t *testing.T) {
	a := qemu(10, 500, system, "a", uuidA)
	a.cgroup = scopeA + "/libvirt/emulator"
	helper := fakeProcess{pid: 18, parent: 1, start: 99_500, exe: "/usr/libexec/virtiofsd"}
	other := fakeProcess{pid: 19, parent: 1, start: 99_500, exe: "/usr/bin/logger"}
	h := newFakeHost(t, a, helper, other)
	h.status(1, "a", uuidA, 10)
	m := h.mapper(nil)
	helpers := func() []proc.ID { t.Helper(); return look(t, m)[uuidA].Helpers }
	if got := helpers(); len(got) != 0 {
		t.Errorf("at first %v", got)
	}
	helper.cgroup, other.cgroup = a.cgroup, a.cgroup
	h.start(helper)
	h.start(other)
	if got := helpers(); len(got) != 1 || got[0].PID != 18 {
		t.Errorf("when they were moved %v, want the helper", got)
	}
	h.write(filepath.Join(h.proc, "uptime"), "1026.00 500.00\n")
	if got := helpers(); len(got) != 2 {
		t.Errorf("in the end %v, want both", got)
	}
}

// Two machines in one cgroup: it cannot tell whose a process in it is.
func TestASharedScopeTellsNothing(t *testing.T) {
	a, b := qemu(20, 500, 0, "a", uuidA), qemu(30, 600, 0, "b", uuidB)
	a.cgroup, b.cgroup = "/qemu.slice/100.scope", "/qemu.slice/100.scope"
	h := newFakeHost(t, a, b, fakeProcess{pid: 40, start: 700, exe: "/usr/bin/swtpm", cgroup: a.cgroup})
	for uuid, vm := range look(t, h.mapper(nil)) {
		if len(vm.Helpers) != 0 {
			t.Errorf("%s has %v", uuid, vm.Helpers)
		}
	}
}

// One bad input is one counted fault.
func TestBadRuntimeFilesAreCountedAndSkipped(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, system, "good", uuidA), fakeProcess{pid: 40, exe: "/usr/sbin/sshd"})
	h.status(1, "good", uuidA, 20)
	h.status(2, "reused", uuidB, 40) // its process ended; the id is sshd's
	h.status(3, "other", "33333333-2222-4333-8444-555555555555", 20)
	h.write(filepath.Join(h.runtime, "cut.xml"), "<domstatus state='running' pid='")
	h.write(filepath.Join(h.runtime, "empty.xml"), "")
	h.write(filepath.Join(h.runtime, "garbage.pid"), "\x00\xff no number at all, and much longer than one")
	if err := unix.Mkfifo(filepath.Join(h.runtime, "fifo.xml"), 0o644); err != nil {
		t.Fatal(err)
	}
	m := h.mapper(nil)
	vms := look(t, m)
	if len(vms) != 1 || vms[uuidA].Source != FromRuntime || vms[uuidA].VCPUs != 2 {
		t.Errorf("got %+v", vms)
	}
	if m.Faults() != 3 {
		t.Errorf("%d faults, want 3 (cut, empty, fifo)", m.Faults())
	}
}

func TestTheLastListingServesWhileLibvirtIsAway(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, system, "a", uuidA), qemu(30, 600, system, "b", uuidB))
	libvirt := &fakeLibvirt{domains: []Domain{
		{ID: 1, UUID: uuidA, Name: "a", Title: "first", State: Running},
		{ID: 2, UUID: uuidB, Name: "b", State: Running},
	}}
	m := h.mapper(libvirt)
	before := look(t, m)
	first := m.Current()
	look(t, m)
	if m.Current() != first {
		t.Error("a look that found nothing new published another Map")
	}
	libvirt.err = errors.New("libvirtd did not answer within 5s")
	h.end(30)
	after := look(t, m)
	if a := after[uuidA]; a.Title != "first" || a.Process != before[uuidA].Process || a.State != Running {
		t.Errorf("a: %+v", a)
	}
	if b := after[uuidB]; b.State != Shutoff || b.Process != (proc.ID{}) {
		t.Errorf("b ended, but: %+v", b)
	}
	if note := m.Current().Note; !strings.Contains(note, "stale") || !strings.Contains(note, libvirt.err.Error()) {
		t.Errorf("note: %q", note)
	}
	// It starts again while libvirt is away: libvirt's account is believed, a user is not.
	h.start(qemu(31, 700, 1000, "b", uuidB))
	if b := look(t, m)[uuidB]; b.Process != (proc.ID{}) {
		t.Errorf("a user's process became b: %+v", b)
	}
	h.start(qemu(32, 800, system, "b", uuidB))
	if b := look(t, m)[uuidB]; b.Process.PID != 32 || b.State != Running {
		t.Errorf("b runs again, but: %+v", b)
	}
	libvirt.err = nil
	look(t, m)
	if note := m.Current().Note; note != "libvirt" {
		t.Errorf("note: %q", note)
	}
}

func TestQuickLookAsksLibvirtOnlyWhenAQemuCameOrWent(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, system, "a", uuidA))
	libvirt := &fakeLibvirt{}
	m := h.mapper(libvirt)
	quick := func(want int, when string) {
		t.Helper()
		if err := m.refresh(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if libvirt.asked != want {
			t.Errorf("%s: asked %d times, want %d", when, libvirt.asked, want)
		}
	}
	quick(1, "first look")
	quick(1, "nothing new")
	h.start(fakeProcess{pid: 99, start: 700, exe: "/usr/bin/bash"})
	quick(1, "another process")
	h.start(qemu(30, 700, system, "b", uuidB))
	quick(2, "a qemu came")
	h.start(qemu(30, 800, system, "b", uuidB))
	quick(3, "its id was used again")
	h.end(30)
	quick(4, "a qemu went")
}

// A process that executes a qemu later keeps its id and start time.
func TestExecIsNoticed(t *testing.T) {
	h := newFakeHost(t, fakeProcess{pid: 20, start: 500, exe: "/bin/sh", uid: system})
	m := h.mapper(nil)
	look(t, m)
	h.start(qemu(20, 500, system, "a", uuidA))
	if vms := look(t, m); len(vms) != 1 {
		t.Errorf("got %+v", vms)
	}
}

// A command line that cannot be read hangs one reader, not the look.
func TestStuckCommandLines(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, system, "good", uuidA))
	m := h.mapper(nil)
	m.processes.stuck.Patience = 10 * time.Millisecond
	look(t, m)
	var fifos []string
	for pid := 30; pid < 40; pid++ {
		h.start(qemu(pid, 600, system, "stuck", uuidB))
		fifo := filepath.Join(h.proc, strconv.Itoa(pid), "cmdline")
		if err := errors.Join(os.Remove(fifo), unix.Mkfifo(fifo, 0o644)); err != nil {
			t.Fatal(err)
		}
		fifos = append(fifos, fifo)
	}
	if vms := look(t, m); len(vms) != 1 || vms[uuidA].Name != "good" {
		t.Errorf("got %+v", vms)
	}
	if hanging := m.processes.stuck.Hanging(); hanging != proc.MaxStuckSystem || m.Faults() != uint64(len(fifos)) {
		t.Errorf("%d readers hang, %d faults; want %d, %d", hanging, m.Faults(), proc.MaxStuckSystem, len(fifos))
	}
	for _, fifo := range fifos { // opening the other end sets the readers free
		fd, err := unix.Open(fifo, unix.O_RDWR|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fifo+".tmp", []byte("kvm\x00-name\x00healed\x00-id\x00"+filepath.Dir(fifo)+"\x00"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fifo+".tmp", fifo); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.After(10 * time.Second)
	for len(look(t, m)) != 1+len(fifos) {
		select {
		case <-deadline:
			t.Fatal("the command lines are readable again, but not read")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// hang makes reads of a process's command line hang until the test ends.
func (h *fakeHost) hang(pid int) {
	h.t.Helper()
	fifo := filepath.Join(h.proc, strconv.Itoa(pid), "cmdline")
	if err := errors.Join(os.Remove(fifo), unix.Mkfifo(fifo, 0o644)); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { // opening the other end sets the readers free
		if fd, err := unix.Open(fifo, unix.O_RDWR|unix.O_NONBLOCK, 0); err == nil {
			_ = unix.Close(fd)
		}
	})
}

// Command lines that hang blind whoever made them, and nobody else.
func TestStuckCommandLinesOfOneUser(t *testing.T) {
	h := newFakeHost(t)
	m := h.mapper(nil)
	m.processes.stuck.Patience = 10 * time.Millisecond
	for pid := 10; pid < 50; pid++ { // met before the others
		h.start(qemu(pid, 400, 65534, "stuck", uuidB))
		h.hang(pid)
	}
	look(t, m)
	if hanging := m.processes.stuck.Hanging(); hanging != proc.MaxStuckAccount {
		t.Errorf("%d readers hang, want %d", hanging, proc.MaxStuckAccount)
	}
	for i, uid := range []int{0, system, 1000, 1001} {
		h.start(qemu(100+i, 500, uid, "good"+strconv.Itoa(i), uuidA[:35]+strconv.Itoa(i)))
	}
	if vms := look(t, m); len(vms) != 4 {
		t.Errorf("%d VMs, want 4: %+v", len(vms), vms)
	}
	for uid := 2000; uid < 2040; uid++ { // many users, each with his own
		h.start(qemu(uid, 400, uid, "stuck", uuidB))
		h.hang(uid)
	}
	h.start(qemu(200, 500, 0, "root's", uuidA[:34]+"99"))
	if vms := look(t, m); len(vms) != 5 {
		t.Errorf("%d VMs, want 5: %+v", len(vms), vms)
	}
	if hanging := m.processes.stuck.Hanging(); hanging != proc.MaxStuckOrdinary {
		t.Errorf("%d readers hang, want %d", hanging, proc.MaxStuckOrdinary)
	}
}

// A young VM is examined again and again, and so may meet a read that fails; it does not end
// because of that.
func TestAYoungVMOutlivesAReadThatFails(t *testing.T) {
	broken := func(file string) func(*fakeHost) {
		return func(h *fakeHost) {
			path := filepath.Join(h.proc, "20", file)
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o755)); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	for title, fail := range map[string]func(*fakeHost){
		"command line hangs": func(h *fakeHost) { h.hang(20) },
		"command line":       broken("cmdline"), "status": broken("status"), "cgroup": broken("cgroup"), "exe": broken("exe"), "stat": broken("stat"),
	} {
		t.Run(title, func(t *testing.T) {
			a := qemu(20, 99_500, system, "a", uuidA) // 5 s old
			a.cgroup = scopeA + "/libvirt/emulator"
			h := newFakeHost(t, a, fakeProcess{pid: 21, parent: 1, start: 99_500, exe: "/usr/libexec/virtiofsd", cgroup: scopeA})
			m := h.mapper(nil)
			m.processes.stuck.Patience = 10 * time.Millisecond
			before := look(t, m)[uuidA]
			if len(before.Helpers) != 1 || before.Ordinary {
				t.Fatalf("at first %+v", before)
			}
			faults := m.Faults()
			fail(h)
			if after := look(t, m)[uuidA]; !reflect.DeepEqual(after, before) {
				t.Errorf("got %+v, want %+v", after, before)
			}
			if m.Faults() != faults+1 {
				t.Errorf("%d faults, want 1", m.Faults()-faults)
			}
			h.write(filepath.Join(h.proc, "uptime"), "1036.00 500.00\n") // no longer young
			if after := look(t, m)[uuidA]; !reflect.DeepEqual(after, before) {
				t.Errorf("later %+v, want %+v", after, before)
			}
		})
	}
}

func TestRunLooksWhenLibvirtAnnouncesAChange(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, system, "a", uuidA))
	libvirt := &fakeLibvirt{changed: make(chan struct{}, 1)}
	m := h.mapper(libvirt)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	libvirt.changed <- struct{}{}
	deadline := time.After(10 * time.Second)
	for len(m.Current().VMs) == 0 {
		select {
		case <-deadline:
			t.Fatal("the announced change was not looked at")
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRefreshEndsWithItsContext(t *testing.T) {
	h := newFakeHost(t, qemu(20, 500, system, "a", uuidA))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.mapper(nil).Refresh(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNoProcfsIsSaid(t *testing.T) {
	h := newFakeHost(t)
	h.proc = filepath.Join(h.proc, "missing")
	m := h.mapper(nil)
	if err := m.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), h.proc) {
		t.Errorf("got %v", err)
	}
	if m.Current() == nil {
		t.Error("no Map")
	}
}

func TestFindDoesNotAllocate(t *testing.T) {
	m := NewMap([]VM{{UUID: uuidA, Process: proc.ID{PID: 20, Start: 500}, Helpers: []proc.ID{{PID: 21, Start: 501}}}}, "")
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := m.Find(21, 501); !ok {
			t.Error("not found")
		}
		m.Find(22, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNewMap(t *testing.T) {
	m := NewMap([]VM{
		{UUID: uuidB, Name: "b", Process: proc.ID{PID: 20, Start: 500}},
		{UUID: uuidA, Name: "a", Process: proc.ID{PID: 10, Start: 400}, Helpers: []proc.ID{{PID: 20, Start: 500}}},
		{UUID: uuidA, Name: "twice"},
		{UUID: "c", State: Shutoff},
	}, "note")
	if len(m.VMs) != 3 || m.VMs[0].Name != "a" || m.VMs[1].Name != "b" {
		t.Errorf("got %+v", m.VMs)
	}
	if i, ok := m.Find(20, 500); !ok || m.VMs[i].Name != "b" {
		t.Error("a helper's entry took a qemu's")
	}
	if _, ok := m.Find(0, 0); ok {
		t.Error("a machine that is off has a process")
	}
}

// What a look costs per process of this machine, in full and when nothing happened.
func BenchmarkScan(b *testing.B) {
	for name, full := range map[string]bool{"full": true, "quick": false} {
		b.Run(name, func(b *testing.B) {
			p := newProcesses("/proc")
			for b.Loop() {
				if _, err := p.scan(b.Context(), full); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(p.known.Len()), "ns/process")
		})
	}
}
