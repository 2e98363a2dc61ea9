package rapl

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/rights"
)

const (
	intelCPU   = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme\n\nprocessor\t: 1\nflags\t: hypervisor\n"
	guestCPU   = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu hypervisor\n"
	zhaoxinCPU = "processor\t: 0\nvendor_id\t: CentaurHauls\nflags\t\t: fpu\n"
	armCPU     = "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\n"
)

func TestDiagnose(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string // below the root; "a -> b" is a link
		dir    string            // below the root; default: sys/class/powercap
		reason Reason
		says   []string
	}{
		"driver not loaded": {
			files: map[string]string{"proc/cpuinfo": intelCPU}, reason: NotLoaded, says: []string{"modprobe intel_rapl_msr", "modules-load.d"},
		},
		"nothing known of the machine": {reason: NotLoaded, says: []string{"modprobe"}},
		"driver loaded, CPU unknown to it": {
			files:  map[string]string{"proc/cpuinfo": intelCPU, "sys/module/intel_rapl_msr/refcnt": "0\n"},
			reason: Unsupported, says: []string{"newer kernel", "estimate"},
		},
		"virtual machine by its CPU": {
			files:  map[string]string{"proc/cpuinfo": guestCPU, "sys/class/dmi/id/sys_vendor": "QEMU\n", "sys/class/dmi/id/product_name": "Standard PC\n"},
			reason: VirtualMachine, says: []string{"scaph-guest", "QEMU Standard PC"},
		},
		"virtual machine by its firmware": {
			files: map[string]string{"proc/cpuinfo": armCPU, "sys/class/dmi/id/product_name": "KVM Virtual Machine\n"}, reason: VirtualMachine,
		},
		"container in a virtual machine": {
			files: map[string]string{"proc/cpuinfo": guestCPU, ".dockerenv": ""}, reason: VirtualMachine,
		},
		"ARM":           {files: map[string]string{"proc/cpuinfo": armCPU}, reason: Unsupported, says: []string{"ARM", "estimate"}},
		"another maker": {files: map[string]string{"proc/cpuinfo": zhaoxinCPU}, reason: Unsupported, says: []string{"CentaurHauls"}},
		"docker, empty": {
			files: map[string]string{"proc/cpuinfo": intelCPU, ".dockerenv": "", "sys/class/powercap/x": ""}, reason: Masked, says: []string{".dockerenv", "on the host"},
		},
		"podman, empty": {
			files: map[string]string{"proc/cpuinfo": intelCPU, "run/.containerenv": ""}, reason: Masked, says: []string{".containerenv"},
		},
		"masked devices": {
			files: map[string]string{"proc/cpuinfo": intelCPU,
				"sys/class/powercap/intel-rapl -> ../../devices/virtual/powercap/intel-rapl":                "",
				"sys/class/powercap/intel-rapl:0 -> ../../devices/virtual/powercap/intel-rapl/intel-rapl:0": ""},
			reason: Masked, says: []string{"--security-opt"},
		},
		"only a control type": {
			files: map[string]string{"proc/cpuinfo": intelCPU, "sys/class/powercap/intel-rapl/enabled": "1\n"}, reason: NotLoaded,
		},
		"share not mounted": {dir: "var/scaphandre", reason: NotMounted, says: []string{"no such directory", "scaph-guest mount"}},
		"share empty":       {dir: "var/scaphandre", files: map[string]string{"var/scaphandre/x": ""}, reason: NotMounted, says: []string{"no zones"}},
		"no zone that counts": {
			files:  map[string]string{"sys/class/powercap/intel-rapl:0/name": "npu\n", "sys/class/powercap/intel-rapl:0/energy_uj": "1\n"},
			reason: Unusable, says: []string{"intel-rapl:0", "npu"},
		},
		"a zone without a counter": {
			files: map[string]string{"sys/class/powercap/intel-rapl:0/name": "package-0\n"}, reason: Unreadable, says: []string{"energy_uj"},
		},
		"zones with garbage": {
			files:  map[string]string{"var/scaphandre/intel-rapl:0/energy_uj": "x\n", "var/scaphandre/intel-rapl:1/energy_uj": "y\n"},
			dir:    "var/scaphandre",
			reason: Unreadable, says: []string{"(and 1 more)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, content := range c.files {
				if link, target, ok := strings.Cut(path, " -> "); ok {
					must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, link)), 0o755))
					must(t, os.Symlink(target, filepath.Join(root, link)))
					continue
				}
				writeFile(t, filepath.Join(root, path), content)
			}
			dir := c.dir
			if dir == "" {
				dir = "sys/class/powercap"
			}
			dir = filepath.Join(root, dir)
			checkDiagnosis(t, diagnosis(root, dir), dir, c.reason, c.says...)
		})
	}
}

func TestDiagnoseMmioAlone(t *testing.T) {
	root := extract(t, "mmio-only")
	dir := filepath.Join(root, "sys/class/powercap")
	checkDiagnosis(t, diagnosis(root, dir), dir, NotLoaded, "modprobe")
}

func TestDiagnoseNothingWrong(t *testing.T) {
	root := extract(t, "amd")
	must(t, diagnosis(root, filepath.Join(root, "sys/class/powercap")))
}

// diagnosis gives what is wrong with dir on the machine whose files are below root.
func diagnosis(root, dir string) error {
	roots := Roots{Sysfs: filepath.Join(root, "sys"), Procfs: filepath.Join(root, "proc"), Root: root}
	r, err := Open(dir, WithRoots(roots), WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	return r.Close()
}

func checkDiagnosis(t *testing.T, err error, dir string, want Reason, says ...string) {
	t.Helper()
	var none *NoZonesError
	if !errors.As(err, &none) {
		t.Fatalf("%T: %v", err, err)
	}
	if none.Reason != want || none.Remedy == "" || none.Detail == "" || none.Dir != dir {
		t.Errorf("reason %q, want %q: %v", none.Reason, want, err)
	}
	for _, part := range append(says, dir) {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
}

// Files that only root can read, for real: the rights of another user are taken on for the test's thread.
func TestDiagnosePermission(t *testing.T) {
	rights.Require(t, rights.Root)
	root := extract(t, "intel-desktop")
	dir := filepath.Join(root, "sys/class/powercap")
	counters, err := filepath.Glob(filepath.Join(dir, "intel-rapl:*/energy_uj"))
	must(t, err)
	for _, path := range counters {
		must(t, os.Chmod(path, 0o400))
	}
	must(t, errors.Join(os.Chmod(root, 0o755), os.Chmod(filepath.Dir(root), 0o755)))
	asNobody(t, func() { err = diagnosis(root, dir) })
	checkDiagnosis(t, err, dir, Permission, "CAP_DAC_READ_SEARCH", "energy_uj")
	must(t, diagnosis(root, dir))

	must(t, os.Chmod(dir, 0o700))
	asNobody(t, func() { err = diagnosis(root, dir) })
	checkDiagnosis(t, err, dir, Permission, "root")
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the cause is lost: %v", err)
	}
}

// asNobody runs f with the file-system rights of uid 65534: those of its thread, which
// is not used for anything else afterwards.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Setfsuid(65534); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

// A tmpfs over the devices, as container runtimes mount it.
func TestDiagnoseMaskedByTmpfs(t *testing.T) {
	root := extract(t, "amd")
	rights.Require(t, rights.Root, func() error {
		var st unix.Statfs_t
		must(t, unix.Statfs(root, &st))
		if st.Type == unix.TMPFS_MAGIC {
			return errors.New("needs a temporary directory that is not on a tmpfs (set TMPDIR)")
		}
		return nil
	})
	mask := filepath.Join(root, "sys/devices/virtual/powercap")
	must(t, unix.Mount("tmpfs", mask, "tmpfs", unix.MS_RDONLY, ""))
	t.Cleanup(func() { must(t, unix.Unmount(mask, unix.MNT_DETACH)) })
	dir := filepath.Join(root, "sys/class/powercap")
	checkDiagnosis(t, diagnosis(root, dir), dir, Masked, "unmasked")
}
