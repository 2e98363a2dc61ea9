//go:build cgo && libvirt_dlopen

package libvirt

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"libvirt.org/go/libvirt"

	"github.com/scaph/scaph/internal/vmmap"
	"github.com/scaph/scaph/test/rights"
)

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// openOnly makes the test binary say what Open gives, instead of testing.
const openOnly = "SCAPH_TEST_OPEN"

func TestMain(m *testing.M) {
	if uri := os.Getenv(openOnly); uri != "" {
		_, err := Open(uri, silent)
		_, again := Open(uri, silent)
		fmt.Println(err)
		fmt.Println(again)
		return
	}
	os.Exit(m.Run())
}

// library is the need of libvirt.so.0, which is looked for at run time.
func library() error {
	if _, err := libvirt.GetVersion(); err != nil {
		return fmt.Errorf("needs libvirt's library (apt-get install libvirt0): %w", err)
	}
	return nil
}

// until polls a condition, for at most as long as what it waits for may take.
func until(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	start := time.Now()
	for !ok() {
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
		<-poll.C
	}
	t.Logf("%s: after %v", what, time.Since(start).Round(time.Millisecond))
}

func announced(c *Client) func() bool {
	return func() bool {
		select {
		case <-c.Changed():
			return true
		default:
			return false
		}
	}
}

// The driver that is built into the library: no daemon, but events and all states.
func TestTestDriver(t *testing.T) {
	rights.Require(t, library)
	c, err := Open("test:///default", silent)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	until(t, 5*time.Second, "announcement of the connection", announced(c))
	list := func() vmmap.Domain {
		t.Helper()
		domains, err := c.List(t.Context())
		if err != nil || len(domains) != 1 {
			t.Fatalf("got %+v, %v", domains, err)
		}
		return domains[0]
	}
	want := vmmap.Domain{ID: 1, UUID: "6695eb01-f6a4-8304-79aa-97f2502e193f", Name: "test", VCPUs: 2, State: vmmap.Running}
	if got := list(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	other, err := libvirt.NewConnect("test:///default") // the same domains, within one process
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = other.Close() }()
	domain, err := other.LookupDomainByName("test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = domain.Free() }()
	for _, step := range []struct {
		title string
		do    func() error
		state vmmap.State
	}{
		{"suspend", domain.Suspend, vmmap.Paused},
		{"resume", domain.Resume, vmmap.Running},
		{"destroy", domain.Destroy, vmmap.Shutoff},
		{"create", domain.Create, vmmap.Running},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		until(t, 5*time.Second, step.title+" is announced", announced(c))
		if got := list(); got.State != step.state || got.Name != "test" {
			t.Errorf("%s: %+v", step.title, got)
		}
	}
}

func TestAnUnreachableDaemonIsAnError(t *testing.T) {
	rights.Require(t, library)
	c, err := Open("qemu+unix:///system?socket="+filepath.Join(t.TempDir(), "none"), silent)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.List(t.Context()); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("got %v", err)
	}
}

func TestListAfterCloseIsAnError(t *testing.T) {
	rights.Require(t, library)
	c, err := Open("test:///default", silent)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := c.List(t.Context()); err == nil {
		t.Error("no error")
	}
}

// Neither a lost connection nor a closed one leaves its socket open.
func checkSockets(t *testing.T, uri string) {
	t.Helper()
	sockets := func() (n int) {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.HasPrefix(target, "socket:") {
				n++
			}
		}
		return n
	}
	before := sockets()
	for range 5 {
		c, err := Open(uri, silent)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.List(t.Context()); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	until(t, 5*time.Second, "sockets are closed", func() bool { return sockets() <= before })
}

// Without libvirt.so.0 the program runs, and Open says what is missing. The test binary is run in a
// root directory with the C library alone.
func TestWithoutTheLibrary(t *testing.T) {
	rights.Require(t, rights.Root)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	linked, err := exec.Command("ldd", self).Output()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	files := append([]string{self}, regexp.MustCompile(`/\S+`).FindAllString(string(linked), -1)...)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(self)
	cmd.Dir, cmd.Env = "/", []string{openOnly + "=qemu:///system"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "libvirt.so.0") != 2 || strings.Contains(string(out), "panic") {
		t.Errorf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}
