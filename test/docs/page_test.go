// Package docs holds the documentation against the programs: links lead somewhere, commands and their flags, configuration
// keys, metrics and messages that it names exist. It says nothing of whether what is said of them is true.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository, seen from this directory.
const root = "../.."

// A page is one file of Markdown, taken apart.
type page struct {
	path   string // below root: "docs/operator.md"
	blocks []block
	spans  []string // `code` in running text
	links  []string // targets of [text](target)
	slugs  map[string]bool
	text   string // all of it
}

// A block is a fenced block of code. Its language is "" for those that have none, "indented" for those that are
// indented by four spaces instead.
type block struct{ language, text string }

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`^#{1,6} (.+)$`)
	notSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// handwritten gives the pages that people write, but those about one suite of tests; docs/metrics.md is made from the program.
func handwritten(t *testing.T) []*page {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	var pages []*page
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "test/README.md"} {
		pages = append(pages, readPage(t, name))
	}
	for _, p := range paths {
		if name := "docs/" + filepath.Base(p); name != "docs/metrics.md" {
			pages = append(pages, readPage(t, name))
		}
	}
	if len(pages) < 5 {
		t.Fatalf("only %d pages were found below %s", len(pages), root)
	}
	return pages
}

func readPage(t *testing.T, path string) *page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{path: path, text: string(text), slugs: map[string]bool{}}
	p.parse()
	return p
}

// parse takes the text apart, as far as the tests need it: our pages have no HTML, no nested blocks and no reference links.
func (p *page) parse() {
	var prose strings.Builder
	var open *block
	blank := true // the line before was
	for line := range strings.Lines(p.text) {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		indented := strings.HasPrefix(line, "    ")
		switch {
		case isFence && open != nil && open.language != "indented":
			p.blocks, open = append(p.blocks, *open), nil
		case isFence:
			open = &block{language: fence}
		case open != nil && open.language != "indented":
			open.text += line
		case indented && (open != nil || blank):
			if open == nil {
				open = &block{language: "indented"}
			}
			open.text += strings.TrimPrefix(line, "    ")
		default:
			if open != nil {
				p.blocks, open = append(p.blocks, *open), nil
			}
			if m := heading.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
				p.slugs[slug(m[1])] = true
			}
			prose.WriteString(line)
		}
		blank = strings.TrimSpace(line) == ""
	}
	if open != nil {
		p.blocks = append(p.blocks, *open)
	}
	for _, m := range codeSpan.FindAllStringSubmatch(prose.String(), -1) {
		p.spans = append(p.spans, strings.Join(strings.Fields(m[1]), " "))
	}
	for _, m := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(prose.String(), "code"), -1) {
		p.links = append(p.links, m[1])
	}
}

// slug is the anchor that GitHub gives a heading.
func slug(heading string) string {
	return strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

// in gives the blocks of a language.
func (p *page) in(language string) []string {
	var texts []string
	for _, b := range p.blocks {
		if b.language == language {
			texts = append(texts, b.text)
		}
	}
	return texts
}

func TestSlug(t *testing.T) {
	for heading, want := range map[string]string{
		"Install":                "install",
		"Guests' meters on it":   "guests-meters-on-it",
		"Worked example, and so": "worked-example-and-so",
		"A `key`":                "a-key",
	} {
		if got := slug(heading); got != want {
			t.Errorf("slug(%q) = %q, want %q", heading, got, want)
		}
	}
}
