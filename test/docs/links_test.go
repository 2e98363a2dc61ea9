package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLinks follows every link that stays within the repository, to the heading where it names one.
func TestLinks(t *testing.T) {
	linked := map[string]bool{"README.md": true}
	for _, p := range handwritten(t) {
		for _, target := range p.links {
			if strings.Contains(target, "://") {
				continue
			}
			path, anchor, _ := strings.Cut(target, "#")
			to := p.path
			if path != "" {
				to = filepath.ToSlash(filepath.Join(filepath.Dir(p.path), path))
			}
			if p.path == "README.md" {
				linked[to] = true
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: link to %s: %v", p.path, target, err)
				continue
			}
			if anchor != "" && !readPage(t, to).slugs[anchor] {
				t.Errorf("%s: link to %s: %s has no such heading", p.path, target, to)
			}
		}
	}
	for _, p := range handwritten(t) {
		if !linked[p.path] {
			t.Errorf("README.md does not link to %s", p.path)
		}
	}
}
