// Package internal_test asserts what concerns the packages together: who may know whom.
package internal_test

import (
	"errors"
	"go/build"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/scaph/scaph/"

// mayImport is the import rule: which of our packages each of our packages may import. Names are relative to
// internal/, and stand for the packages below them too, unless those have a line of their own. "all" is
// for wiring.
var mayImport = map[string][]string{
	"energy":                {},
	"proc":                  {},
	"rapl":                  {"energy"},
	"hwmon":                 {"energy"},
	"estimate":              {"energy"},
	"cputime":               {"proc"},
	"cputime/bpf":           {"cputime", "proc"},
	"cputime/cputimetest":   {"cputime", "proc"},
	"vmmap":                 {"proc"},
	"vmmap/libvirt":         {"vmmap", "proc"},
	"workload":              {"proc"},
	"ledger":                {"energy"},
	"state":                 {},
	"snapshot":              {"energy"},
	"snapshot/snapshottest": {"energy", "snapshot"},
	"meter":                 {"energy", "snapshot", "ledger", "state", "proc", "cputime", "vmmap", "workload"},
	"vfs":                   {"energy"},
	"series":                {"energy", "snapshot"},
	"system":                {"snapshot", "series"},
	"web":                   {"snapshot"},
	"export":                {"energy", "snapshot", "series", "system", "export", "web"},
	"parts":                 {"export"},
	"config":                {},
	"cli":                   {"all"},
	"app":                   {"all"},
	"host":                  {"all"},
	"guest":                 {"all"},
	"demo":                  {"all"},
	"../cmd":                {"all"},
	"../internal":           {},                // this test
	"../test":               {"../test"},       // the judges share no code with the product
	"../test/toy":           {"export", "web"}, // a part, not a judge
	"attach":                {},
	"attach/command":        {"attach", "vmmap", "vfs"},
}

// onlyIn says which package alone may import one from elsewhere: what it drags in stays in one place.
var onlyIn = map[string]string{
	"libvirt.org/go/libvirt":                 "vmmap/libvirt",
	"github.com/cilium/ebpf":                 "cputime/bpf",
	"github.com/hanwen/go-fuse":              "vfs",
	"github.com/spf13/viper":                 "config",
	"github.com/prometheus/client_golang":    "export/prometheus",
	"github.com/prometheus/client_model":     "export/prometheus",
	"github.com/prometheus/common":           "export/prometheus",
	"github.com/prometheus/exporter-toolkit": "web",
	"net/http/pprof":                         "web/profiles",
	module + "internal/web/profiles":         "../cmd/scaph-host",
	module + "internal/vmmap/libvirt":        "host",
}

// pure packages decide; they neither read nor wait.
var pure = map[string][]string{
	"energy": {"os", "net", "io", "syscall", "context", "sync", "log/slog"},
	"ledger": {"os", "net", "io", "syscall", "context", "sync", "log/slog"},
	"attach": {"os", "net", "syscall", "context", "sync", "log/slog"}, // it reads a document, not a file
	"series": {"os", "net", "io", "syscall", "context", "sync", "log/slog"},
}

func TestImportRule(t *testing.T) {
	for name, imports := range packages(t) {
		rule, ok := lookup(mayImport, name)
		if !ok {
			t.Errorf("%s has no line in the import rule", name)
			continue
		}
		for _, imported := range imports {
			if ours, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(rule, "all") {
				if ours = relative(ours); !below(ours, name) && !slices.ContainsFunc(rule, func(r string) bool { return below(ours, r) }) {
					t.Errorf("%s imports %s, and may import %v only", name, ours, rule)
				}
			}
			for what, owner := range onlyIn {
				if below(imported, what) && name != owner && !below(name, "../test") {
					t.Errorf("%s imports %s, which only %s may", name, imported, owner)
				}
			}
			if slices.Contains(pure[name], imported) {
				t.Errorf("%s imports %s, and is to be pure", name, imported)
			}
		}
	}
}

// packages gives the imports of each of our packages, built as it is shipped; tests may import what they like.
// The files are read here, not by "go list": so the go tool knows that a cached result depends on them.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	shipped := build.Default
	shipped.BuildTags = []string{"libvirt_dlopen"}
	shipped.CgoEnabled = true
	found := map[string][]string{}
	err := filepath.WalkDir("..", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if name := entry.Name(); name == "testdata" || (strings.HasPrefix(name, ".") && name != "..") {
			return fs.SkipDir
		}
		p, err := shipped.ImportDir(dir, 0)
		var none *build.NoGoError
		if errors.As(err, &none) {
			return nil
		}
		name, _ := strings.CutPrefix(filepath.ToSlash(dir), "../")
		found[relative(name)] = p.Imports
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("only %d packages were found", len(found))
	}
	return found
}

// relative names a package relative to internal/.
func relative(name string) string {
	if inside, ok := strings.CutPrefix(name, "internal/"); ok {
		return inside
	}
	return "../" + name
}

// below tells whether a package is another one, or below it.
func below(name, parent string) bool { return name == parent || strings.HasPrefix(name, parent+"/") }

// lookup gives the line of a package, or of the nearest one above it.
func lookup(rules map[string][]string, name string) ([]string, bool) {
	for ; name != "." && name != ".."; name = path.Dir(name) {
		if rule, ok := rules[name]; ok {
			return rule, true
		}
	}
	return nil, false
}
