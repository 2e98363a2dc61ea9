package main

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/scaph/scaph/test/rights"
	"github.com/scaph/scaph/test/source"
)

// TestAccuracy is the short form: one seed.
func TestAccuracy(t *testing.T) {
	rights.Require(t, rights.FUSE)
	source.Depend(t, "cmd", "internal", "test")
	var out strings.Builder
	err := all(t.Context(), &out, 1, true)
	t.Log("\n" + out.String())
	if errors.Is(err, errBroken) {
		t.Error("see the lines BROKEN above")
	} else if err != nil {
		t.Fatal(err)
	}
}

// TestNoCodeIsShared holds the parts of the loop apart: none of them may use the product's code, or another part's.
func TestNoCodeIsShared(t *testing.T) {
	source.Depend(t, "test")
	const module = "github.com/scaph/scaph/"
	allowed := map[string][]string{
		"test/accuracy":         {"test/accuracy/judge", "test/accuracy/machine", "test/metrics", "test/wait"}, // it brings them together
		"test/accuracy/judge":   {"test/metrics"},                                                              // how a scrape is read
		"test/accuracy/machine": nil,
		"test/accuracy/oracle":  nil,
		"test/accuracy/load":    nil,
		"test/plant":            nil,
	}
	for pkg, parts := range allowed {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module+pkg).Output()
		if err != nil {
			t.Fatalf("go list %s: %v", pkg, err)
		}
		for _, dep := range strings.Fields(string(out)) {
			name, ours := strings.CutPrefix(dep, module)
			if ours && name != pkg && !slices.Contains(parts, name) {
				t.Errorf("%s uses %s", pkg, name)
			}
		}
	}
}
