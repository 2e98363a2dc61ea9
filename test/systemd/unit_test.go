package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// unit reads a unit of ours, with its program and configuration taken from elsewhere.
func unit(t *testing.T, name, bin, etc string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(built.top, "packaging/systemd", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("/usr/bin/scaph-", bin+"/scaph-", "/etc/scaph/", etc+"/").Replace(string(text))
}

// values gives the values of a setting, one for each of its lines.
func values(unit, setting string) []string {
	var all []string
	for line := range strings.Lines(unit) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), setting+"="); ok {
			all = append(all, value)
		}
	}
	return all
}

// writeUnit puts a unit, as built, into a directory of its own.
func writeUnit(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	write(t, path, unit(t, name, built.bin, "/etc/scaph"), 0o644)
	return path
}

var names = []string{"scaph-host.service", "scaph-guest.service"}

// TestVerify has systemd look for mistakes in the units. Before 254 it passes over some settings that it does not know, and says
// so; here it is not shown those.
func TestVerify(t *testing.T) {
	for _, name := range names {
		text := unit(t, name, built.bin, "/etc/scaph")
		if version(t) < 254 {
			text = regexp.MustCompile(`(?m)^(FileDescriptorStorePreserve|RestartSteps|RestartMaxDelaySec)=.*\n`).ReplaceAllString(text, "")
		}
		path := filepath.Join(t.TempDir(), name)
		write(t, path, text, 0o644)
		out, err := exec.Command("systemd-analyze", "verify", "--recursive-errors=no", path).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// version gives systemd's.
func version(t *testing.T) int {
	t.Helper()
	out, err := exec.Command("systemd-analyze", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(out)) // systemd 252 (252.39-1)
	if len(fields) < 2 {
		t.Fatalf("systemd-analyze --version: %q", out)
	}
	n, err := strconv.Atoi(regexp.MustCompile(`^\d+`).FindString(fields[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestExposure bounds what the units leave open, in systemd's own measure (0 to 10), and has each such thing explained.
func TestExposure(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(built.top, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	explained := strings.ReplaceAll(string(page), `\|`, "|") // in a table
	most := map[string]float64{"scaph-host.service": 3.0, "scaph-guest.service": 2.0}
	overall := regexp.MustCompile(`Overall exposure level for \S+: (\d+\.\d+)`)
	for _, name := range names {
		out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", writeUnit(t, name)).Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		match := overall.FindSubmatch(out)
		if match == nil {
			t.Fatalf("%s: no exposure level in\n%s", name, out)
		}
		level, err := strconv.ParseFloat(string(match[1]), 64)
		if err != nil || level > most[name] {
			t.Errorf("%s is exposed by %s, and may be by %.1f", name, match[1], most[name])
		}
		t.Logf("%s: %.1f", name, level)
		for line := range strings.Lines(string(out)) {
			if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "✗" && !strings.Contains(explained, "`"+fields[1]+"`") {
				t.Errorf("%s leaves %s open, which docs/security.md does not explain", name, fields[1])
			}
		}
	}
}

// TestCapabilities holds what a unit may ever have to what it has.
func TestCapabilities(t *testing.T) {
	want := map[string]string{
		"scaph-host.service":  "CAP_DAC_READ_SEARCH CAP_SYS_PTRACE CAP_BPF CAP_PERFMON",
		"scaph-guest.service": "CAP_DAC_READ_SEARCH",
	}
	for _, name := range names {
		u := unit(t, name, built.bin, "/etc/scaph")
		for _, setting := range []string{"AmbientCapabilities", "CapabilityBoundingSet"} {
			if got := values(u, setting); !slices.Equal(got, []string{want[name]}) {
				t.Errorf("%s: %s=%v, want %s", name, setting, got, want[name])
			}
		}
	}
}

// TestAccount makes the account that the host's unit names.
func TestAccount(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "etc/group"), "", 0o644)
	out, err := exec.Command("systemd-sysusers", "--root="+root, filepath.Join(built.top, "packaging/systemd/scaph.sysusers")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	users, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^scaph:x:\d+:\d+:[^:]*:/:\S+/nologin$`).Match(users) {
		t.Errorf("passwd: %s", users)
	}
	if got := values(unit(t, "scaph-host.service", "", ""), "User"); !slices.Equal(got, []string{"scaph"}) {
		t.Errorf("User=%v", got)
	}
}
