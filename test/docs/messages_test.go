package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// foreign are messages of others.
var foreign = []string{"Transport endpoint is not connected"}

// TestMessages looks for every message that the troubleshooting page quotes in the programs' source: code of four words or more
// in running text, and indented blocks line by line. The ellipsis stands for whatever the program puts there.
func TestMessages(t *testing.T) {
	p := readPage(t, "docs/troubleshooting.md")
	said := phrases(t)
	quotes := slices.Clone(p.spans)
	for _, text := range p.in("indented") {
		quotes = append(quotes, strings.Split(strings.TrimSpace(text), "\n")...)
	}
	checked := 0
	for _, quote := range quotes {
		_, _, isCommand := ourCommand(quote)
		if len(strings.Fields(quote)) < 4 || isCommand || slices.Contains(foreign, quote) || strings.HasPrefix(quote, "cat ") {
			continue
		}
		checked++
		for piece := range strings.SplitSeq(quote, "…") {
			if piece = bare(piece); len(strings.Fields(piece)) < 3 {
				continue
			}
			if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(piece, s) || strings.Contains(s, piece) }) {
				t.Errorf("no message of the programs has %q", piece)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d messages were found", checked)
	}
}

// bare takes away what may surround a phrase.
func bare(s string) string { return strings.Trim(s, " \n;:,.()\"") }

// gap is where a literal is cut into phrases: what it formats, and where it may be put together with another.
var gap = regexp.MustCompile(`%[-+#0-9.]*[a-z]|: |; `)

// phrases gives what the source says in three words or more, whole and cut at the gaps.
func phrases(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, dir := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				e, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				text, whole := textOf(e)
				for _, phrase := range append(gap.Split(text, -1), text) {
					if phrase = bare(phrase); len(strings.Fields(phrase)) >= 3 {
						all = append(all, phrase)
					}
				}
				return !whole // its parts were taken together
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// textOf gives the text of a literal or a sum; what is not known in a sum is a gap. Whole says that the expression is one.
func textOf(e ast.Expr) (text string, whole bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			if s, err := strconv.Unquote(e.Value); err == nil {
				return s, true
			}
		}
	case *ast.BinaryExpr:
		left, leftOK := textOf(e.X)
		right, rightOK := textOf(e.Y)
		if e.Op == token.ADD && (leftOK || rightOK) {
			if !leftOK {
				left = "%v"
			}
			if !rightOK {
				right = "%v"
			}
			return left + right, true
		}
	}
	return "", false
}
