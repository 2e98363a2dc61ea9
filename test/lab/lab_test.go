//go:build lab

package lab

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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

// runLab skips in one case only, loudly: without root there is no libvirtd, no mount and no
// qemu user. For root whatever is missing is a failure.
func runLab(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprint(os.Stderr, "\n*** LAB SKIPPED: not root. No virtual machine, share or real Prometheus was tested.\n"+
			"*** Run it with: sudo make lab\n\n")
		return 0
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	// Tests beside each other wait for guests and clocks, not for a processor.
	flag.Parse()
	if err := flag.Set("test.parallel", "32"); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	code := m.Run()
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
	cmd := exec.Command(filepath.Join(wd, "setup"), filepath.Join(built.logs, "initrd.img"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	lines := strings.Fields(string(bytes.TrimSpace(out)))
	if len(lines) != 2 {
		return fmt.Errorf("setup printed %q, not the paths of a kernel and an initramfs", out)
	}
	built.kernel, built.initrd = lines[0], lines[1]
	build := exec.Command("go", "build", "-o", filepath.Join(built.logs, "plant"), "./test/plant")
	build.Dir = built.top
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("plant: %w\n%s", err, out)
	}
	return nil
}
