// Package cli tests the two programs from outside, as their users meet them: by their command lines,
// configuration files, exit codes and signals.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/scaph/scaph/test/source"
)

// programs holds the binaries under test, built once.
var programs string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "scaph-cli-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", detector, "-tags", "libvirt_dlopen", "-o", dir, "../../cmd/scaph-host", "../../cmd/scaph-guest")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	programs = dir
	flag.Parse()
	// Tests beside each other wait for services and clocks, not for a processor.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// TestScripts runs testdata/*.txtar, one file a topic.
func TestScripts(t *testing.T) {
	t.Parallel()
	source.Depend(t, "cmd", "internal")
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", programs+string(os.PathListSeparator)+e.Getenv("PATH"))
			_, err := newMachine(filepath.Join(e.WorkDir, "sys"))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code,
		},
	})
}

// code runs a program and holds its exit code: code N program [args].
func code(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: code N program [args]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// A machine is a simulated sysfs with one package and its dram, whose counters a test moves.
type machine struct {
	sysfs string
	value uint64
}

func newMachine(sysfs string) (*machine, error) {
	m := &machine{sysfs: sysfs, value: 100_000_000_000}
	for zone, name := range map[string]string{"intel-rapl:0": "package-0", "intel-rapl:0:0": "dram"} {
		dir := filepath.Join(sysfs, "class/powercap", zone)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		for file, text := range map[string]string{"name": name, "max_energy_range_uj": "262143328850"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o644); err != nil {
				return nil, err
			}
		}
	}
	return m, m.give(0)
}

// give lets both zones count so many µJ. The values keep their length and are written in one call, so that a reader
// sees the old or the new one.
func (m *machine) give(microjoules uint64) error {
	m.value += microjoules
	for _, zone := range []string{"intel-rapl:0", "intel-rapl:0:0"} {
		f, err := os.OpenFile(filepath.Join(m.sysfs, "class/powercap", zone, "energy_uj"), os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte(fmt.Sprintf("%d\n", m.value)), 0)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
