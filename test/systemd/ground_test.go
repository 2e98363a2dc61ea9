package systemd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/source"
)

// The accounts that the tests use need no entry anywhere.
const (
	serviceID = 64971 // the service
	qemuID    = 64972 // the virtual machine
)

// A ground is a host: RAPL as plain files that only root may read, a virtual machine of another user, a configuration.
type ground struct {
	t      *testing.T
	config string
	tree   string
	vm     string // its directory in the tree
	uuid   string
}

func newGround(t *testing.T) *ground {
	t.Helper()
	source.Depend(t, "cmd", "internal")
	dir := publicDir(t)
	g := &ground{t: t, config: filepath.Join(dir, "scaph-host.yaml"), tree: filepath.Join(dir, "tree")}
	g.uuid = fmt.Sprintf("5ca90000-0000-4000-8000-%012d", os.Getpid())
	name := fmt.Sprintf("systemd-test-%d", os.Getpid())
	g.vm = filepath.Join(g.tree, name)
	powercap := filepath.Join(dir, "powercap")
	writePowercap(t, powercap)
	count(t, filepath.Join(powercap, "intel-rapl:0/energy_uj"))
	for _, d := range []string{"run", "lib"} {
		if err := errors.Join(os.Mkdir(filepath.Join(dir, d), 0o700), os.Chown(filepath.Join(dir, d), serviceID, serviceID)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, g.config, fmt.Sprintf(`interval: 200ms
sensor: {powercap: %[1]s/powercap}
libvirt: {enabled: false}
tree: {enabled: true, path: %[1]s/tree, owner: root, publish: {interval: 200ms}}
state: {run: %[1]s/run, lib: %[1]s/lib}
web: {listen: []}
prometheus: {enabled: false}
`, dir), 0o644)
	startMachine(t, dir, "-name", "guest="+name, "-uuid", g.uuid)
	t.Cleanup(func() { // a test that failed half-way
		for unix.Unmount(g.tree, unix.MNT_DETACH) == nil {
		}
	})
	return g
}

// writePowercap makes one zone, as sysfs shows it.
func writePowercap(t *testing.T, dir string) {
	t.Helper()
	write(t, filepath.Join(dir, "intel-rapl:0/name"), "package-0\n", 0o444)
	write(t, filepath.Join(dir, "intel-rapl:0/max_energy_range_uj"), "262143328850\n", 0o444)
	write(t, filepath.Join(dir, "intel-rapl:0/energy_uj"), "100000000000\n", 0o400)
}

// count has the counter rise by 5 J/s until the test ends. Its number of digits stays, so that no reader sees a part.
func count(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for n := uint64(100_000_000_000); ; n += 100_000 {
			if _, err := fmt.Fprintf(&atStart{f}, "%d\n", n); err != nil {
				t.Error(err)
			}
			select {
			case <-ticker.C:
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done; f.Close() })
}

// atStart writes over the beginning of a file.
type atStart struct{ f *os.File }

func (a *atStart) Write(p []byte) (int, error) { return a.f.WriteAt(p, 0) }

// startMachine runs a copy of the test binary that is named like a qemu, as a user of its own, until the test ends.
func startMachine(t *testing.T, dir string, args ...string) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "qemu-system-x86_64")
	write(t, path, string(self), 0o755)
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), envStandIn+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: qemuID, Gid: qemuID}}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = cmd.Wait() }) // it ends with its input
}

// privileges is the command line that makes a process what User=, the capabilities and NoNewPrivileges= of the
// unit make it.
func privileges(unit string, without ...string) []string {
	list := "-all"
	for _, c := range strings.Fields(values(unit, "CapabilityBoundingSet")[0]) {
		if !strings.Contains(strings.Join(without, " "), c) {
			list += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
		}
	}
	id := fmt.Sprint(serviceID)
	return []string{
		"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups", "--no-new-privs",
		"--inh-caps=" + list, "--ambient-caps=" + list, "--bounding-set=" + list,
	}
}

// mounts lists the file system types that are mounted at a path, lowest first, without touching it.
func mounts(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for line := range strings.Lines(string(text)) {
		before, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(before); len(fields) > 4 && fields[4] == path {
			types = append(types, strings.Fields(after)[0])
		}
	}
	return types
}

// command runs the program to its end.
func command(t *testing.T, env []string, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}
