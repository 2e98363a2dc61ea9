package vmmap

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A fakeHost is a machine made of files: its procfs and libvirt's state directory.
type fakeHost struct {
	t       *testing.T
	proc    string
	runtime string
}

// A fakeProcess is one process of it. What is left empty is what an ordinary one has.
type fakeProcess struct {
	pid, parent int
	start       int // clock ticks; the machine has been up for 1000 s
	comm        string
	exe         string // target of /proc/PID/exe
	argv        []string
	uid         int
	cgroup      string
	image       int    // another one for each program that it executes
	nested      bool   // it is in a PID namespace of its own
	userns      string // target of /proc/PID/ns/user
}

const system = 64055 // libvirt-qemu in the fake host's passwd

func newFakeHost(t *testing.T, processes ...fakeProcess) *fakeHost {
	h := &fakeHost{t: t, proc: t.TempDir(), runtime: t.TempDir()}
	h.write(filepath.Join(h.proc, "uptime"), "1000.00 500.00\n")
	h.write(filepath.Join(h.proc, "meminfo"), "not a process\n")
	for _, p := range processes {
		h.start(p)
	}
	return h
}

func (h *fakeHost) write(path, text string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *fakeHost) start(p fakeProcess) {
	h.t.Helper()
	dir := filepath.Join(h.proc, strconv.Itoa(p.pid))
	if p.image == 0 {
		p.image = 1 + len(p.exe)
	}
	if p.comm == "" {
		p.comm = filepath.Base(strings.TrimSuffix(p.exe, " (deleted)"))
		p.comm = p.comm[:min(len(p.comm), 15)]
	}
	if p.cgroup == "" {
		p.cgroup = "/system.slice/some.service"
	}
	h.write(filepath.Join(dir, "stat"), fmt.Sprintf("%d (%s) S %d 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0 0 1 1 %d%s\n",
		p.pid, p.comm, p.parent, p.start, p.image, strings.Repeat(" 0", 24)))
	pids := strconv.Itoa(p.pid)
	if p.nested {
		pids += "\t1"
	}
	h.write(filepath.Join(dir, "status"), fmt.Sprintf("Name:\t%s\nUid:\t%d\t%d\t%d\t%d\nNSpid:\t%s\n", p.comm, p.uid, p.uid, p.uid, p.uid, pids))
	if p.userns != "" {
		h.link(p.userns, filepath.Join(dir, "ns/user"))
	}
	h.write(filepath.Join(dir, "cgroup"), "0::"+p.cgroup+"\n")
	h.write(filepath.Join(dir, "cmdline"), strings.Join(append([]string{p.exe}, p.argv...), "\x00")+"\x00")
	h.link(p.exe, filepath.Join(dir, "exe"))
}

func (h *fakeHost) link(target, path string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	_ = os.Remove(path)
	if err := os.Symlink(target, path); err != nil {
		h.t.Fatal(err)
	}
}

func (h *fakeHost) end(pid int) {
	h.t.Helper()
	if err := os.RemoveAll(filepath.Join(h.proc, strconv.Itoa(pid))); err != nil {
		h.t.Fatal(err)
	}
}

// status writes what libvirt keeps of a running domain.
func (h *fakeHost) status(id int, name, uuid string, pid int) {
	h.t.Helper()
	h.write(filepath.Join(h.runtime, name+".xml"), fmt.Sprintf(
		`<domstatus state='running' pid='%d'><domain type='kvm' id='%d'><name>%s</name><uuid>%s</uuid><vcpu>2</vcpu></domain></domstatus>`, pid, id, name, uuid))
	h.pidFile(name+".pid", pid)
}

func (h *fakeHost) pidFile(name string, pid int) {
	h.t.Helper()
	h.write(filepath.Join(h.runtime, name), strconv.Itoa(pid)+"\n")
}

func (h *fakeHost) mapper(libvirt Lister) *Mapper {
	h.t.Helper()
	return h.logging(libvirt, io.Discard)
}

func (h *fakeHost) logging(libvirt Lister, log io.Writer) *Mapper {
	h.t.Helper()
	m := New(Config{Procfs: h.proc, Runtime: h.runtime, Libvirt: libvirt, Log: slog.New(slog.NewTextHandler(log, nil))})
	passwd := filepath.Join(h.t.TempDir(), "passwd")
	h.write(passwd, fmt.Sprintf("root:x:0:0::/root:/bin/sh\nlibvirt-qemu:x:%d:108::/:/bin/false\nmallory:x:1000:1000::/:/bin/sh\n", system))
	m.processes.accounts.path = passwd
	return m
}

// look makes a full look and gives what it found by UUID.
func look(t *testing.T, m *Mapper) map[string]VM {
	t.Helper()
	if err := m.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return byUUID(m.Current())
}

func byUUID(m *Map) map[string]VM {
	vms := map[string]VM{}
	for _, vm := range m.VMs {
		vms[vm.UUID] = vm
	}
	return vms
}

// qemu is a virtual machine's process as libvirt starts it.
func qemu(pid, start, uid int, name, uuid string) fakeProcess {
	return fakeProcess{pid: pid, parent: 1, start: start, uid: uid, exe: "/usr/bin/qemu-system-x86_64",
		argv: []string{"-name", "guest=" + name + ",debug-threads=on", "-S", "-smp", "2", "-uuid", uuid}}
}

// fakeLibvirt lists what it is told to.
type fakeLibvirt struct {
	domains []Domain
	err     error
	asked   int
	changed chan struct{}
}

func (f *fakeLibvirt) List(context.Context) ([]Domain, error) { f.asked++; return f.domains, f.err }
func (f *fakeLibvirt) Changed() <-chan struct{}               { return f.changed }
