package parts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/scaph/scaph/internal/export/exporttest"
)

// Every exporter says what it is, has a command whose flags set keys of sections that are there, and its row in the table of
// commands. That its keys stand in the example configurations, and in the table of keys, is asserted for all keys together.
func TestExporters(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operator.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{"web": true, "processes": true}
	for _, part := range Exporters() {
		if sections[part.Name] {
			t.Errorf("%s is there twice", part.Name)
		}
		sections[part.Name] = true
	}
	for _, part := range Exporters() {
		t.Run(part.Name, func(t *testing.T) {
			if part.Summary == "" || strings.Contains(part.Summary, "\n") || !strings.Contains(part.Command.Example, "%[1]s "+part.Name) {
				t.Error("no summary in one line, or no example")
			}
			if !strings.Contains(string(page), "\n| `scaph-host "+part.Name+"` |") {
				t.Error("docs/operator.md has no row for its command")
			}
			set := pflag.NewFlagSet(part.Name, pflag.ContinueOnError)
			flags := part.Command.Flags(set)
			for flag, key := range flags.Keys {
				section, _, _ := strings.Cut(key, ".")
				if set.Lookup(flag) == nil || !sections[section] {
					t.Errorf("--%s cannot set %s", flag, key)
				}
			}
			if (part.Section == nil) == (flags.Opener == nil) {
				t.Error("either its section or its command opens it")
			}
			if part.Section == nil {
				return
			}
			part.Section().Check(func(key string) { t.Errorf("the default of %s is not allowed", key) })
			s := part.Section()
			if s.Turn(true); !s.On() {
				t.Error("it cannot be switched on")
			}
			if s.Turn(false); s.On() {
				t.Error("it cannot be switched off")
			}
		})
	}
}

// Every exporter runs the same suite.
func TestConformance(t *testing.T) {
	for _, part := range Exporters() {
		t.Run(part.Name, func(t *testing.T) { exporttest.Conform(t, part) })
	}
}
