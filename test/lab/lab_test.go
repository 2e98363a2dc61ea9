//go:build lab

package lab

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scaph/scaph/test/rights"
)

// built is what TestMain prepared for all tests; nothing writes to it afterwards.
var built struct {
	top            string // the source tree
	kernel, initrd string // what guests boot
	logs           string // one file for each component
}

// host and guestBinary are the product, as an operator has it.
func host() string        { return filepath.Join(built.top, "bin", "scaph-host") }
func guestBinary() string { return filepath.Join(built.top, "bin", "scaph-guest") }

func TestMain(m *testing.M) { os.Exit(runLab(m)) }

// needs are those of every test here.
var needs = []rights.Need{
	rights.FUSE,
	rights.Program("qemu-system-x86_64", "qemu-system-x86"),
	rights.Program("/usr/sbin/libvirtd", "libvirt-daemon-system"),
	rights.Program("virsh", "libvirt-clients"),
	rights.Program("busybox", "busybox-static"),
	rights.Program("cpio", "cpio"),
	rights.Program("prometheus", "prometheus"),
	rights.Program("promtool", "prometheus"),
	rights.Program("prometheus-node-exporter", "prometheus-node-exporter"),
	guestKernel,
}

// guestKernel is the need of the kernel that guests boot.
func guestKernel() error {
	cache := cmp.Or(os.Getenv("SCAPH_LAB_CACHE"), "/var/cache/scaph-lab")
	if _, err := os.Stat(filepath.Join(cache, "kernel", "complete")); err != nil {
		return fmt.Errorf("needs a guest kernel (sudo make setup): %w", err)
	}
	return nil
}

func TestNeeds(t *testing.T) { rights.Require(t, needs...) }

func runLab(m *testing.M) int {
	code := rights.Main(m, needs, prepare)
	if built.logs == "" {
		return code
	}
	if code != 0 {
		fmt.Fprintln(os.Stderr, "lab: the logs of all components are in", built.logs)
		return code
	}
	if err := os.RemoveAll(built.logs); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
	}
	return 0
}

func prepare() error {
	// Tests beside each other wait for guests and clocks, not for a processor.
	if err := flag.Set("test.parallel", "32"); err != nil {
		return err
	}
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	built.top = filepath.Dir(filepath.Dir(wd))
	for _, binary := range []string{host(), guestBinary()} {
		if _, err := os.Stat(binary); err != nil {
			return fmt.Errorf("the product is not built, run make build: %w", err)
		}
	}
	// Other users have to reach it: qemu reads the initramfs from here as its own user.
	if built.logs, err = os.MkdirTemp("", "scaph-lab-"); err != nil {
		return err
	}
	if err := os.Chmod(built.logs, 0o755); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(wd, "initrd"), filepath.Join(built.logs, "initrd.img"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("initrd: %w", err)
	}
	lines := strings.Fields(string(bytes.TrimSpace(out)))
	if len(lines) != 2 {
		return fmt.Errorf("initrd printed %q, not the paths of a kernel and an initramfs", out)
	}
	built.kernel, built.initrd = lines[0], lines[1]
	build := exec.Command("go", "build", "-o", filepath.Join(built.logs, "plant"), "./test/plant")
	build.Dir = built.top
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("plant: %w\n%s", err, out)
	}
	return nil
}
