package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/scaph/scaph/test/rights"
)

var metricName = regexp.MustCompile(`\bscaph_[a-z_]+[a-z]`)

// TestMetrics looks up every metric that a page names in the reference, which is made from the program.
func TestMetrics(t *testing.T) {
	reference := readPage(t, "docs/metrics.md").text
	for _, p := range handwritten(t) {
		for _, name := range metricName.FindAllString(p.text, -1) {
			if !strings.Contains(reference, "| `"+name+"` |") {
				t.Errorf("%s: there is no metric %s", p.path, name)
			}
		}
	}
}

// TestQueries has Prometheus parse every query.
func TestQueries(t *testing.T) {
	rights.Require(t, rights.Program("promtool", "prometheus"))
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var rules []rule
	for _, p := range handwritten(t) {
		for _, query := range p.in("promql") {
			rules = append(rules, rule{fmt.Sprintf("docs:query%d", len(rules)), strings.Join(strings.Fields(query), " ")})
		}
	}
	if len(rules) < 10 {
		t.Fatalf("only %d queries were found", len(rules))
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "docs", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, text)
	}
}
