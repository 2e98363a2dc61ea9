package vmmap

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/rights"
)

// A file of -readconfig counts where reading it can do no harm, and nowhere else.
func TestReadConfigOnlyWhereThatIsSafe(t *testing.T) {
	rights.Require(t, rights.Root)
	root := t.TempDir()
	const config = "[smp-opts]\n cpus = \"4\"\n"
	write := func(name, text string, mode os.FileMode, uid int) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode), os.Chown(path, uid, 0)); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/good.cfg", config, 0o644, 0)
	write("etc/guests.cfg", config, 0o600, system)
	write("etc/users.cfg", config, 0o644, 1000)
	write("etc/group.cfg", config, 0o664, 0)
	write("etc/all.cfg", config, 0o646, 0)
	write("etc/long.cfg", config+strings.Repeat("#\n", maxConfig), 0o644, 0)
	if err := errors.Join(
		unix.Mkfifo(filepath.Join(root, "etc/fifo.cfg"), 0o644),
		os.Symlink("/etc/good.cfg", filepath.Join(root, "etc/link.cfg")),
		os.Symlink("/dev/zero", filepath.Join(root, "etc/device.cfg")),
		os.Symlink("/proc/self/environ", filepath.Join(root, "etc/magic.cfg")),
		os.Mkdir(filepath.Join(root, "dev"), 0o755),
		unix.Mknod(filepath.Join(root, "dev/zero"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))),
	); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		title, path string
		uid, want   int
	}{
		{"root's", "/etc/good.cfg", 0, 4},
		{"that of libvirt's guests", "/etc/guests.cfg", system, 4},
		{"by a link within its root", "/etc/link.cfg", 0, 4},
		{"from where it was started", "good.cfg", 0, 4},
		{"and upwards", "../../../etc/good.cfg", 0, 4},
		{"named by an ordinary user", "/etc/good.cfg", 1000, 0},
		{"an ordinary user's", "/etc/users.cfg", 0, 0},
		{"writable for a group", "/etc/group.cfg", 0, 0},
		{"writable for all", "/etc/all.cfg", 0, 0},
		{"too long", "/etc/long.cfg", 0, 0},
		{"a pipe", "/etc/fifo.cfg", 0, 0},
		{"a device", "/etc/device.cfg", 0, 0},
		{"not there", "/etc/passwd", 0, 0},
		{"a directory", "/etc", 0, 0},
		{"of ours", "/etc/magic.cfg", 0, 0},
	} {
		t.Run(c.title, func(t *testing.T) {
			h := newFakeHost(t)
			p := fakeProcess{pid: 20, start: 500, uid: c.uid, exe: "/usr/bin/qemu-system-x86_64", argv: []string{"-uuid", uuidA, "-readconfig", c.path}}
			h.start(p)
			h.link(root, filepath.Join(h.proc, "20/root"))
			h.link("/etc", filepath.Join(h.proc, "20/cwd"))
			m := h.mapper(nil)
			if vm, ok := look(t, m)[uuidA]; !ok || vm.VCPUs != c.want {
				t.Errorf("got %+v, want %d CPUs", vm, c.want)
			}
			if n := m.processes.stuck.Hanging(); n != 0 {
				t.Errorf("%d reads hang", n)
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("[machine]\n  type = \"q35\"\n[device \"x\"]\n"))
	f.Add([]byte("[\n]=\"\n= \"\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		parseConfig(text, func(name string, settings map[string]string) {
			for key, value := range settings {
				if strings.ContainsAny(name+key+value, "\n") {
					t.Errorf("[%q] %q = %q", name, key, value)
				}
			}
		})
	})
}
