package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/wait"
)

// commands gives what the unit runs, by a build of the program: nsenter is left out, which needs a service manager.
func (g *ground) commands(bin string) (mount, serve []string) {
	host := filepath.Join(bin, "scaph-host")
	u := unit(g.t, "scaph-host.service", bin, filepath.Dir(g.config))
	return []string{host, "mount", "--config", g.config}, append(privileges(u), host, "run", "--config", g.config)
}

// TestMountOutlivesTheService has the service killed, and upgraded, under a reader. The service is not root, and has the unit's
// capabilities alone.
func TestMountOutlivesTheService(t *testing.T) {
	g, m := newGround(t), newManager(t)
	mount, serve := g.commands(built.bin)
	m.pre(mount...)
	inStore := []string{"scaph-fuse", "scaph-fuse-state"}
	if names := m.Names(); !slices.Equal(names, inStore) {
		t.Fatalf("in the store: %v", names)
	}
	p := m.start(serve...)
	unprivileged(t, p.cmd.Process.Pid)
	wait.Until(t, "the machine's directory", within, func() bool { return exists(g.vm) })
	stop := startReader(t, g.vm)

	for range 5 {
		p.end(syscall.SIGKILL)
		if out, took := m.pre(mount...); took > 2*time.Second {
			t.Errorf("to find the mount held took %v: %s", took, out)
		}
		if names := m.Names(); !slices.Equal(names, inStore) || m.Puts() != len(inStore) {
			t.Fatalf("a mount that the store holds was not left alone: %v", names)
		}
		p = m.start(serve...)
		wait.Until(t, "a new value", within, func() bool { return changed(g.vm) })
	}
	// An upgrade: the mount is the first build's, the service another's.
	p.end(syscall.SIGTERM)
	mount, serve = g.commands(built.newBin)
	m.pre(mount...)
	p = m.start(serve...)
	wait.Until(t, "the new build", within, func() bool { return readText(filepath.Join(g.vm, "scaph/version")) == "second\n" })
	stop()
	if types := mounts(t, g.tree); !slices.Equal(types, []string{"fuse.scaph"}) {
		t.Errorf("mounted at the tree's path: %v", types)
	}

	p.end(syscall.SIGTERM) // the mount is held and not served, as after systemctl stop
	out, code := command(t, m.Environment(), built.newBin+"/scaph-host", "unmount", "--config", g.config)
	if code != 0 || out != g.tree+": unmounted\n" || mounts(t, g.tree) != nil {
		t.Errorf("unmount: exit code %d: %s", code, out)
	}
}

// TestStaleMountIsReplaced loses the store's descriptors, as when systemd itself is older than 254 and the unit is stopped.
func TestStaleMountIsReplaced(t *testing.T) {
	g, m := newGround(t), newManager(t)
	mount, serve := g.commands(built.bin)
	m.pre(mount...)
	m.Clear()
	if err := unix.Statfs(g.tree, new(unix.Statfs_t)); err != unix.ENOTCONN {
		t.Fatalf("a mount without its store: %v", err)
	}
	m.pre(mount...)
	p := m.start(serve...)
	wait.Until(t, "the machine's directory", within, func() bool { return exists(g.vm) })
	stop := startReader(t, g.vm)
	wait.Until(t, "two values", within, func() bool { return changed(g.vm) })
	stop()

	// Served by another: nothing of it is touched.
	out, code := command(t, m.Environment(), mount...)
	if code != 1 || !strings.Contains(out, "served by another process") {
		t.Errorf("mount over a served tree: exit code %d: %s", code, out)
	}
	// In use and stacked: all goes.
	if err := unix.Mount(g.tree, g.tree, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	held, err := unix.Open(g.tree, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(held)
	out, code = command(t, nil, built.bin+"/scaph-host", "unmount", "--config", g.config)
	if code != 0 || out != g.tree+": took away 2 mounts\n" || mounts(t, g.tree) != nil {
		t.Errorf("unmount: exit code %d: %s", code, out)
	}
	p.end(syscall.SIGKILL)
	out, code = command(t, nil, built.bin+"/scaph-host", "unmount", "--config", g.config)
	if code != 0 || out != g.tree+": nothing of ours is mounted there\n" {
		t.Errorf("unmount once more: exit code %d: %s", code, out)
	}
}

// TestForeignMountIsLeftAlone has somebody else's file system where the tree belongs.
func TestForeignMountIsLeftAlone(t *testing.T) {
	g, m := newGround(t), newManager(t)
	if err := os.Mkdir(g.tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", g.tree, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"mount", "unmount"} {
		out, code := command(t, m.Environment(), built.bin+"/scaph-host", verb, "--config", g.config)
		if code != 1 || !strings.Contains(out, "type tmpfs") {
			t.Errorf("%s: exit code %d: %s", verb, code, out)
		}
	}
	if types := mounts(t, g.tree); !slices.Equal(types, []string{"tmpfs"}) {
		t.Errorf("mounted at the tree's path: %v", types)
	}
	if names := m.Names(); names != nil {
		t.Errorf("in the store: %v", names)
	}
}

// TestMountByHand says why that makes no sense.
func TestMountByHand(t *testing.T) {
	g := newGround(t)
	out, code := command(t, []string{}, built.bin+"/scaph-host", "mount", "--config", g.config)
	if code != 2 || !strings.Contains(out, "NOTIFY_SOCKET") || mounts(t, g.tree) != nil {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// unprivileged fails unless the process has the unit's account and capabilities, and no others.
func unprivileged(t *testing.T, pid int) {
	t.Helper()
	status := readText(fmt.Sprintf("/proc/%d/status", pid))
	const dacReadSearch, sysPtrace, perfmon, bpf = 2, 19, 38, 39
	caps := fmt.Sprintf("%016x", uint64(1<<dacReadSearch|1<<sysPtrace|1<<perfmon|1<<bpf))
	for _, line := range []string{
		fmt.Sprintf("Uid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d", serviceID), "CapEff:\t" + caps, "CapPrm:\t" + caps, "CapBnd:\t" + caps, "NoNewPrivs:\t1",
	} {
		if !strings.Contains(status, line+"\n") {
			t.Errorf("the service is not %q:\n%s", line, status)
		}
	}
}

func exists(path string) bool { return unix.Stat(path, new(unix.Stat_t)) == nil }

// readText gives "" for what cannot be read.
func readText(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	text := make([]byte, 4096)
	n, _ := unix.Read(fd, text)
	return string(text[:max(n, 0)])
}

// changed tells whether the meter below dir has moved while we looked.
func changed(dir string) bool {
	before, err := readCounter(dir + "/intel-rapl:0/energy_uj")
	if err != nil {
		return false
	}
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		if now, err := readCounter(dir + "/intel-rapl:0/energy_uj"); err == nil && now > before {
			return true
		}
	}
	return false
}

// TestOrdinaryUser is another user of the host: what the kernel keeps from it, the tree does too.
func TestOrdinaryUser(t *testing.T) {
	g, m := newGround(t), newManager(t)
	mount, serve := g.commands(built.bin)
	m.pre(mount...)
	p := m.start(serve...)
	wait.Until(t, "the machine's directory", within, func() bool { return exists(g.vm) })
	user := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	for _, c := range []struct {
		args []string
		out  string
	}{
		{[]string{"cat", g.vm + "/intel-rapl:0/energy_uj"}, "Permission denied"},
		{[]string{"touch", g.vm + "/x"}, "Read-only file system"},
		{[]string{"umount", g.tree}, "must be superuser"},
		{[]string{built.bin + "/scaph-host", "unmount", "--config", g.config}, "operation not permitted"},
	} {
		if out, code := command(t, nil, append(user, c.args...)...); code == 0 || !strings.Contains(out, c.out) {
			t.Errorf("%v: exit code %d: %s", c.args, code, out)
		}
	}
	out, _ := command(t, nil, append(user, "cat", g.vm+"/scaph/power_watts", g.vm+"/scaph/uuid")...)
	t.Logf("power_watts, uuid: %s", out)
	p.end(syscall.SIGTERM)
}
