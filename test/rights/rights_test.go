package rights

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A verdict keeps how a test was ended.
type verdict struct {
	testing.TB
	failed, skipped string
}

func (*verdict) Helper()                        {}
func (v *verdict) Fatalf(f string, args ...any) { v.failed = fmt.Sprintf(f, args...) }
func (v *verdict) Skipf(f string, args ...any)  { v.skipped = fmt.Sprintf(f, args...) }

// One policy: with nothing missing a test runs; with something missing it is skipped and says what, and fails where
// that was promised.
func TestRequire(t *testing.T) {
	there := func() error { return nil }
	lacking := func(what string) Need { return func() error { return errors.New("needs " + what) } }
	for _, c := range []struct {
		policy          string
		needs           []Need
		failed, skipped bool
	}{
		{"", nil, false, false},
		{All, []Need{there, there}, false, false},
		{None, []Need{there}, false, false},
		{"", []Need{there, lacking("a"), lacking("b")}, false, true},
		{None, []Need{lacking("a"), lacking("b")}, false, true},
		{All, []Need{lacking("a"), there, lacking("b")}, true, false},
	} {
		t.Setenv(Variable, c.policy)
		var v verdict
		Require(&v, c.needs...)
		if (v.failed != "") != c.failed || (v.skipped != "") != c.skipped {
			t.Errorf("policy %q, %d needs: %+v", c.policy, len(c.needs), v)
		}
		for _, what := range []string{"NOT TESTED", "needs a", "needs b"} {
			if said := v.failed + v.skipped; said != "" && !strings.Contains(said, what) {
				t.Errorf("%q does not say %q", said, what)
			}
		}
	}
}

func TestRoot(t *testing.T) {
	for policy, want := range map[string]bool{"": os.Geteuid() == 0, All: os.Geteuid() == 0, None: false} {
		t.Setenv(Variable, policy)
		if err := Root(); (err == nil) != want {
			t.Errorf("policy %q: %v", policy, err)
		}
		if err := FUSE(); err == nil && !want {
			t.Errorf("policy %q: FUSE without root", policy)
		}
	}
}

func TestProgram(t *testing.T) {
	if err := Program("go", "golang")(); err != nil {
		t.Error(err)
	}
	if err := Program("no-such-program", "its-package")(); err == nil || !strings.Contains(err.Error(), "apt-get install its-package") {
		t.Errorf("%v does not say how to get it", err)
	}
}

// inner makes a copy of the test binary a package that needs what is not there.
const inner = "TEST_RIGHTS_INNER"

func lacking() error { return errors.New("needs what is not there") }

func TestMain(m *testing.M) {
	if os.Getenv(inner) == "" {
		os.Exit(m.Run())
	}
	os.Exit(Main(m, []Need{lacking}, func() error { return errors.New("prepared all the same") }))
}

func TestNeeds(t *testing.T) {
	if os.Getenv(inner) != "" {
		Require(t, lacking)
	}
}

// A package that lacks its needs is one skipped test, and where all was promised, one that fails.
func TestMainWithoutNeeds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for policy, want := range map[string]struct {
		says   string
		passes bool
	}{"": {"--- SKIP: TestNeeds", true}, All: {"--- FAIL: TestNeeds", false}} {
		cmd := exec.CommandContext(t.Context(), self, "-test.v")
		cmd.Env = append(os.Environ(), inner+"=1", Variable+"="+policy)
		out, err := cmd.CombinedOutput()
		if text := string(out); !strings.Contains(text, want.says) || strings.Count(text, "--- ") != 1 || (err == nil) != want.passes {
			t.Errorf("policy %q: %v\n%s", policy, err, text)
		}
	}
}
