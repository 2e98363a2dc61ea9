package systemd

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/scaph/scaph/test/rights"
)

// built is what TestMain prepared for all tests; nothing writes to it afterwards.
var built struct {
	top         string // the source tree
	bin, newBin string // directories of the programs, and of another build of scaph-host
}

// Set for a copy of the test binary that is to be something else.
const (
	envReader  = "SCAPH_TEST_READER"   // read the meter in this directory again and again
	envStandIn = "SCAPH_TEST_STAND_IN" // run, as a virtual machine
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(envStandIn) != "":
		work()
	case os.Getenv(envReader) != "":
		if err := readMeter(os.Getenv(envReader)); err != nil {
			fmt.Fprintln(os.Stderr, "reader:", err)
			os.Exit(1)
		}
	default:
		os.Exit(run(m))
	}
}

// work keeps a processor a little busy until the input ends.
func work() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		for began := time.Now(); time.Since(began) < time.Millisecond; {
		}
		select {
		case <-ticker.C:
		case <-ended:
			return
		}
	}
}

// needs are those of every test here. kill(1) is named by the units.
var needs = []rights.Need{
	rights.FUSE, rights.Program("systemd-analyze", "systemd"), rights.Program("systemd-sysusers", "systemd"), rights.Program("/bin/kill", "procps"),
}

func TestNeeds(t *testing.T) { rights.Require(t, needs...) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "scaph-systemd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "systemd tests:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	return rights.Main(m, needs, func() error { return prepare(dir) })
}

// prepare builds the programs, twice with different versions.
func prepare(dir string) error {
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	built.top = filepath.Join(wd, "../..")
	built.bin, built.newBin = filepath.Join(dir, "bin"), filepath.Join(dir, "new")
	if err := os.Chmod(dir, 0o755); err != nil { // the service, which is not root, starts from here
		return err
	}
	build := func(version, bin string, programs ...string) *exec.Cmd {
		args := []string{"build", "-tags", "libvirt_dlopen", "-ldflags", "-X github.com/scaph/scaph/internal/cli.version=" + version, "-o", bin + "/"}
		return exec.Command("go", append(args, programs...)...)
	}
	host, guest := built.top+"/cmd/scaph-host", built.top+"/cmd/scaph-guest"
	commands := []*exec.Cmd{build("first", built.bin, host, guest), build("second", built.newBin, host)}
	for _, cmd := range commands {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd, err, out)
		}
	}
	return nil
}

// publicDir makes a directory for the test that other users can enter.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
