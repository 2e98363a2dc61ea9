//go:build lab

package lab

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWithoutRAPL runs the commands on a machine that has no powercap: an answer, not a crash.
func TestWithoutRAPL(t *testing.T) {
	sysfs := sysfsWithoutRAPL(t)
	for _, args := range [][]string{{"check"}, {"stdout", "--timeout", "2"}, {"prometheus", "--port", "0"}} {
		code, stdout, stderr := command(t, host(), append(args, "--sysfs", sysfs)...)
		text := stdout + stderr
		t.Logf("scaph-host %s: exit %d\n%s", strings.Join(args, " "), code, text)
		if code != 1 {
			t.Errorf("%s exits with %d, not 1", args[0], code)
		}
		refuseTrace(t, args[0], text)
		if !strings.Contains(text, "powercap") {
			t.Errorf("%s does not say what is missing", args[0])
		}
		// On bare metal a module may be missing; a virtual machine has no counters but those of its host.
		if !strings.Contains(text, "modprobe") && !strings.Contains(text, "scaph-guest") {
			t.Errorf("%s does not say how to mend it", args[0])
		}
	}
}

// TestWithoutLibvirt runs the built binary where no libvirt.so can be loaded.
func TestWithoutLibvirt(t *testing.T) {
	f, err := elf.Open(host())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	libraries, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, library := range libraries {
		if strings.Contains(library, "libvirt") {
			t.Errorf("scaph-host is linked against %s", library)
		}
	}

	found, err := filepath.Glob("/usr/lib/*/libvirt.so.0")
	if err != nil || len(found) != 1 {
		t.Fatalf("libvirt.so.0 at %v, %v", found, err)
	}
	empty := filepath.Join(t.TempDir(), "libvirt.so.0")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	hidden := func(args ...string) (code int, text string) {
		script := `mount --bind "$1" "$2" && shift 2 && exec "$@"`
		code, stdout, stderr := command(t, "unshare", append([]string{"--mount", "sh", "-c", script, "sh", empty, found[0], host()}, args...)...)
		return code, stdout + stderr
	}
	if code, text := hidden("--version"); code != 0 {
		t.Errorf("--version exits with %d\n%s", code, text)
	}
	// The other rungs of the ladder are there, and check says what is not.
	dir := t.TempDir()
	config := filepath.Join(dir, "estimate.yaml")
	content := fmt.Sprintf("sensor: {kind: estimate}\nstate: {run: %[1]s/run, lib: %[1]s/lib}\n", dir)
	if err := os.WriteFile(config, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"vms", "check"} {
		code, text := hidden(name, "--config", config)
		t.Logf("scaph-host %s without libvirt: exit %d\n%s", name, code, text)
		refuseTrace(t, name, text)
		if code != 0 {
			t.Errorf("%s exits with %d", name, code)
		}
		if name == "check" && !strings.Contains(text, "libvirt.so") {
			t.Error("check does not tell that libvirt's library is not there")
		}
	}
}

// TestGuestIsStatic holds the agent to what lets one file run in any guest.
func TestGuestIsStatic(t *testing.T) {
	f, err := elf.Open(guestBinary())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("scaph-guest is dynamically linked")
		}
	}
}

func refuseTrace(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(text, "goroutine ") || strings.Contains(text, "panic:") {
		t.Errorf("%s: a stack trace", what)
	}
}
