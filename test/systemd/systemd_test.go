package systemd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/source"
	"github.com/scaph/scaph/test/wait"
)

// boot is the first process of a machine within this one: it has mounts, processes, host name and control groups of its own,
// and empty directories where systemd and the service write. $1 is the directory of the test.
const boot = `
set -e
mount --make-rprivate /
mount -t proc proc /proc
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
mount -t tmpfs -o mode=755 tmpfs /var/lib
exec env -i container=scaph-test PATH="$PATH" SYSTEMD_UNIT_PATH="$1/units" SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=notice \
	"$2" --system --unit=test.target --show-status=false
`

// A machine runs a systemd of its own, which is the first process there.
type machine struct {
	t   *testing.T
	pid int // of systemd
	log *lockedBuffer
}

// bootMachine starts systemd with the units that are in dir/units.
func bootMachine(t *testing.T, dir string) *machine {
	t.Helper()
	source.Depend(t, "cmd", "internal")
	m := &machine{t: t, log: new(lockedBuffer)}
	group := newCgroup(t)
	write(t, filepath.Join(dir, "units/test.target"), "[Unit]\nDefaultDependencies=no\n", 0o644)
	cmd := exec.Command("sh", "-c", `echo $$ > "$0/cgroup.procs"; exec "$@"`, group,
		"unshare", "--cgroup", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL",
		"sh", "-c", boot, "boot", dir, "/lib/systemd/systemd")
	cmd.Stdout, cmd.Stderr = m.log, m.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it the first process, and with that all others
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("systemd says:\n%s", m.log.String())
		}
	})
	wait.Until(t, "the machine has begun", within, func() bool {
		_, err := fmt.Sscan(readText(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", cmd.Process.Pid)), &m.pid)
		return err == nil
	})
	wait.Until(t, "systemd answers", within, func() bool { _, err := m.run("systemctl", "list-units"); return err == nil })
	return m
}

// newCgroup makes a control group, in the version 2 hierarchy, that is the root of the machine's.
func newCgroup(t *testing.T) string {
	t.Helper()
	root := ""
	for line := range strings.Lines(readAll(t, "/proc/self/mountinfo")) {
		before, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 {
			root = fields[4]
		}
	}
	if root == "" {
		t.Fatal("no cgroup2 is mounted here, which systemd cannot do without: mount -t cgroup2 cgroup2 /sys/fs/cgroup")
	}
	dir, err := os.MkdirTemp(root, "scaph-systemd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		wait.Until(t, "the machine's control groups are empty", within, func() bool { removeGroups(dir); return !exists(dir) })
	})
	return dir
}

// removeGroups removes a control group and those in it, as far as nobody is in them.
func removeGroups(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			removeGroups(filepath.Join(dir, e.Name()))
		}
	}
	_ = os.Remove(dir) // as long as somebody is in there, it stays
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// inside is the command that another is started by within the machine.
func (m *machine) inside() []string {
	return []string{"nsenter", "--target", fmt.Sprint(m.pid), "--mount", "--pid", "--cgroup", "--"}
}

// run runs a command in the machine.
func (m *machine) run(args ...string) (string, error) {
	args = append(m.inside(), args...)
	out, err := exec.CommandContext(m.t.Context(), args[0], args[1:]...).CombinedOutput()
	return string(bytes.TrimSpace(out)), err
}

// must is run for what is not expected to fail.
func (m *machine) must(args ...string) string {
	m.t.Helper()
	out, err := m.run(args...)
	if err != nil {
		m.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}

// mainPID gives the process of a service that runs, "" if none does.
func (m *machine) mainPID(service string) string {
	m.t.Helper()
	// In one call, so that both are of one moment.
	pid, active := strings.CutSuffix(m.must("systemctl", "show", "--value", "--property=MainPID", "--property=ActiveState", service), "\nactive")
	if !active || pid == "0" {
		return ""
	}
	return pid
}

// machineDir makes the directory that a machine and its services use, with our programs and a counter. It is not below /tmp,
// of which units get one of their own, nor below /run and /var/lib, which the machine has empty.
func machineDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/cache", "scaph-systemd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"scaph-host", "scaph-guest"} {
		write(t, filepath.Join(dir, "bin", program), readAll(t, filepath.Join(built.bin, program)), 0o755)
	}
	account := fmt.Sprintf("scaph:x:%[1]d:%[1]d::/:/usr/sbin/nologin\n", serviceID)
	write(t, filepath.Join(dir, "passwd"), readAll(t, "/etc/passwd")+account, 0o644)
	write(t, filepath.Join(dir, "group"), readAll(t, "/etc/group")+fmt.Sprintf("scaph:x:%d:\n", serviceID), 0o644)
	writePowercap(t, filepath.Join(dir, "powercap"))
	count(t, filepath.Join(dir, "powercap/intel-rapl:0/energy_uj"))
	return dir
}

// machineUnit gives a unit of ours, to be started in a machine that has no other units.
func machineUnit(t *testing.T, name, dir string) string {
	t.Helper()
	return strings.Replace(unit(t, name, dir+"/bin", dir), "[Unit]\n", "[Unit]\nDefaultDependencies=no\n", 1)
}

// TestHostUnderSystemd runs the host's unit, sandbox and all, under a real systemd.
func TestHostUnderSystemd(t *testing.T) {
	const (
		service = "scaph-host"
		tree    = "/var/lib/libvirt/scaphandre" // the default
	)
	dir := machineDir(t)
	name := fmt.Sprintf("systemd-test-%d", os.Getpid())
	vm := filepath.Join(tree, name)
	write(t, filepath.Join(dir, "scaph-host.yaml"), fmt.Sprintf(`interval: 200ms
sensor: {powercap: %s/powercap}
libvirt: {enabled: false}
tree: {enabled: true, owner: root, publish: {interval: 200ms}}
web: {listen: []}
prometheus: {enabled: false}
`, dir), 0o644)
	u := machineUnit(t, "scaph-host.service", dir)
	write(t, filepath.Join(dir, "units/scaph-host.service"), u, 0o644)
	// The trap that nsenter is for: a + command of a unit with a sandbox has mounts of its own.
	u = strings.Replace(u, "/usr/bin/nsenter --target 1 --mount -- ", "", 1)
	u = strings.Replace(u, "[Service]\n", "[Service]\nStandardError=append:"+dir+"/trap.log\n", 1)
	write(t, filepath.Join(dir, "units/trap.service"), strings.Replace(u, "Restart=always", "Restart=no", 1), 0o644)
	m := bootMachine(t, dir)
	startMachineIn(t, m, dir, "-name", "guest="+name, "-uuid", "5ca90001-0000-4000-8000-000000000001")

	if out, err := m.run("systemctl", "start", "trap"); err == nil || !strings.Contains(readText(dir+"/trap.log"), "nobody outside of this unit") {
		t.Errorf("without nsenter: %v %s\n%s", err, out, readText(dir+"/trap.log"))
	}
	m.must("systemctl", "start", service)
	if mount := m.must("findmnt", "--noheadings", "--output", "FSTYPE,OPTIONS", "--mountpoint", tree); !strings.HasPrefix(mount, "fuse.scaph ro,nosuid,nodev,noexec") {
		t.Errorf("mounted where libvirt looks: %q", mount)
	}
	wait.Until(t, "the machine's directory", within, func() bool { _, err := m.run("test", "-d", vm); return err == nil })
	stop := startReader(t, vm, m.inside()...)
	for range 3 {
		killed := m.mainPID(service)
		m.must("kill", "-KILL", killed)
		wait.Until(t, "systemd has started it again", within, func() bool { now := m.mainPID(service); return now != "" && now != killed })
	}
	m.must("systemctl", "restart", service)
	m.must("systemctl", "reload", service)
	m.must("cat", vm+"/scaph/version")
	stop()
	if n := m.must("systemctl", "show", "--value", "--property=NFileDescriptorStore", service); n != "2" {
		t.Errorf("%s descriptors in the store", n)
	}
	if mode := m.must("stat", "--format=%U %a", "/run/scaph", "/var/lib/scaph"); mode != "scaph 700\nscaph 700" {
		t.Errorf("state directories: %s", mode)
	}
	m.must("systemctl", "stop", service)
	if out := m.must(dir+"/bin/scaph-host", "unmount", "--config", dir+"/scaph-host.yaml"); out != tree+": unmounted" {
		t.Errorf("unmount: %s", out)
	}
}

// TestGuestUnderSystemd runs the guest's unit on a counter that only root may read.
func TestGuestUnderSystemd(t *testing.T) {
	const service = "scaph-guest"
	dir := machineDir(t)
	write(t, filepath.Join(dir, "scaph-guest.yaml"), fmt.Sprintf("sensor: {powercap: %s/powercap}\nweb: {listen: []}\nprometheus: {enabled: false}\n", dir), 0o644)
	write(t, filepath.Join(dir, "units/scaph-guest.service"), machineUnit(t, "scaph-guest.service", dir), 0o644)
	m := bootMachine(t, dir)
	m.must("systemctl", "start", service)
	status := m.must("cat", "/proc/"+m.mainPID(service)+"/status")
	for _, line := range []string{"CapEff:\t0000000000000004\n", "CapBnd:\t0000000000000004\n", "NoNewPrivs:\t1\n"} {
		if !strings.Contains(status, line) {
			t.Errorf("the service is not %q:\n%s", line, status)
		}
	}
	if strings.Contains(status, "Uid:\t0\t") {
		t.Error("the service runs as root")
	}
	m.must("systemctl", "stop", service)
}

// startMachineIn is startMachine within the machine.
func startMachineIn(t *testing.T, m *machine, dir string, args ...string) {
	t.Helper()
	path := filepath.Join(dir, "bin/qemu-system-x86_64")
	write(t, path, readAll(t, "/proc/self/exe"), 0o755)
	args = append(append(m.inside(), "setpriv", fmt.Sprintf("--reuid=%d", qemuID), "--clear-groups", path), args...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), envStandIn+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
}
