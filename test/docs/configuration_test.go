package docs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/scaph/scaph/test/source"
)

// TestSnippets has the host's program check every piece of YAML.
func TestSnippets(t *testing.T) {
	source.Depend(t, "cmd", "internal")
	for _, p := range handwritten(t) {
		for i, text := range p.in("yaml") {
			t.Run(fmt.Sprintf("%s %d", p.path, i), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "snippet.yaml")
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				check := exec.CommandContext(t.Context(), filepath.Join(programs, "scaph-host"), "check", "--config", path)
				check.Env = append(os.Environ(), "SCAPH_LIBVIRT_ENABLED=false") // nobody is to be asked
				out, err := check.CombinedOutput()
				var exit *exec.ExitError
				if errors.As(err, &exit) && exit.ExitCode() == 1 {
					return // this machine lacks something: not the page's fault
				}
				if err != nil {
					t.Errorf("%v\n%s%s", err, text, out)
				}
			})
		}
	}
}

var (
	keyLike = regexp.MustCompile(`^[a-z_]+(\.[a-z_]+)+$`)
	envLike = regexp.MustCompile(`^SCAPH_[A-Z_]*[A-Z]$`)
	keyRow  = regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| (`[^`]*`|[^|]*) \\|")
)

// TestKeys looks up every configuration key that a page names, by itself or as a variable.
func TestKeys(t *testing.T) {
	known := defaults(t)
	variables := map[string]bool{}
	sections := map[string]bool{}
	for key := range known {
		variables["SCAPH_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))] = true
		for section := key; strings.Contains(section, "."); {
			section = section[:strings.LastIndex(section, ".")]
			sections[section] = true
		}
	}
	for _, p := range handwritten(t) {
		if p.path == "CHANGELOG.md" { // it tells of keys that were
			continue
		}
		for _, span := range p.spans {
			top, _, _ := strings.Cut(span, ".")
			isKey := keyLike.MatchString(span) && sections[top] && !strings.HasSuffix(span, ".go")
			if _, ok := known[span]; isKey && !ok && !sections[span] {
				t.Errorf("%s: there is no key %s", p.path, span)
			}
			if envLike.MatchString(span) && !variables[span] {
				t.Errorf("%s: no key has the variable %s", p.path, span)
			}
		}
	}
}

// TestKeyTable holds the table of keys against the example configuration, which has all keys with their defaults.
func TestKeyTable(t *testing.T) {
	table := map[string]string{}
	for _, row := range keyRow.FindAllStringSubmatch(readPage(t, "docs/operator.md").text, -1) {
		table[row[1]] = row[2]
	}
	for key, value := range defaults(t) {
		cell, ok := table[key]
		if !ok {
			t.Errorf("docs/operator.md has no row for %s", key)
		} else if quoted, isValue := strings.CutPrefix(cell, "`"); isValue && strings.Trim(quoted, "`\"") != value {
			t.Errorf("docs/operator.md: the default of %s is %s, not %s", key, value, cell)
		}
	}
}

// defaults gives the keys of the example configuration, and their values as text.
func defaults(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "configs", "scaph-host.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	var walk func(prefix string, n *yaml.Node)
	walk = func(prefix string, n *yaml.Node) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := prefix+n.Content[i].Value, n.Content[i+1]
			switch {
			case value.Kind == yaml.MappingNode && len(value.Content) > 0:
				walk(key+".", value)
			case value.Kind == yaml.MappingNode:
				keys[key] = "{}"
			case value.Kind == yaml.SequenceNode:
				words := []string{}
				for _, word := range value.Content {
					words = append(words, strconv.Quote(word.Value))
				}
				keys[key] = "[" + strings.Join(words, ", ") + "]"
			default:
				keys[key] = value.Value
			}
		}
	}
	walk("", document.Content[0])
	if len(keys) < 20 {
		t.Fatalf("the example configuration has %d keys only", len(keys))
	}
	return keys
}
