// Package rights decides, for every test, what happens where the system lacks what the test needs: root, a device, a
// program. There is one policy. A test that cannot run is skipped, with a reason that says how to run it; where the
// caller was promised that everything runs, it fails instead. So a stranger can run what needs nothing, and a run
// that counts cannot pass by leaving something out.
//
// A test asks before it does anything else:
//
//	rights.Require(t, rights.Root, rights.Program("libvirtd", "libvirt-daemon-system"))
package rights

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Variable is the environment variable that sets the policy. Its name does not begin with SCAPH_: the programs under
// test inherit it, and refuse variables of that prefix that they do not know.
const Variable = "TEST_RIGHTS"

// Values of the variable. Without it tests use what is there, and are skipped where something is missing.
const (
	All  = "all"  // everything was promised: a test that cannot run fails ("make test", .ci/run)
	None = "none" // tests do without root, even where they have it ("make quick")
)

// A Need is something that a test takes and that a system may lack. It returns nil where it is there, else an error
// that says what is missing and how to get it.
type Need func() error

// Require ends the test unless all needs are met: as failed where that was promised, else as skipped.
func Require(t testing.TB, needs ...Need) {
	t.Helper()
	err := missing(needs)
	switch {
	case err == nil:
	case os.Getenv(Variable) == All:
		t.Fatalf("NOT TESTED, though %s=%s promises it: %v", Variable, All, err)
	default:
		t.Skipf("NOT TESTED: %v", err)
	}
}

// Spare skips a test that would disturb what belongs to the system, not to the tests. No promise covers that.
func Spare(t testing.TB, what string) {
	t.Helper()
	t.Skipf("NOT TESTED: would disturb %s", what)
}

// Main runs the tests of a package of which none can do without the needs, and returns the exit code. Where they are
// met it calls prepare first; where they are not, it runs TestNeeds alone, which has to be there and to Require
// them. So the tests that are left out are seen and counted.
func Main(m *testing.M, needs []Need, prepare func() error) int {
	flag.Parse()
	if missing(needs) != nil {
		if err := flag.Set("test.run", "^TestNeeds$"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "prepare the tests:", err)
		return 1
	}
	return m.Run()
}

func missing(needs []Need) error {
	var errs []error
	for _, need := range needs {
		errs = append(errs, need())
	}
	return errors.Join(errs...)
}

// Root is the need of a test that becomes another user, mounts, or loads programs into the kernel.
func Root() error {
	switch {
	case os.Geteuid() != 0:
		return errors.New("needs root (sudo make test)")
	case os.Getenv(Variable) == None:
		return fmt.Errorf("needs root, which %s=%s keeps from it (make test)", Variable, None)
	}
	return nil
}

// FUSE is the need of a test that mounts a file system of its own making.
func FUSE() error {
	if err := Root(); err != nil {
		return err
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("needs FUSE (modprobe fuse; in a container: --device /dev/fuse): %w", err)
	}
	return f.Close()
}

// Program returns the need of a program in PATH, which is in the named package of Debian.
func Program(name, debianPackage string) Need {
	return func() error {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("needs %s (apt-get install %s)", name, debianPackage)
		}
		return nil
	}
}
