package attach

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// patched applies a unified diff, as patch does.
func patched(t *testing.T, document []byte, diff string) []byte {
	t.Helper()
	if diff == "" {
		return document
	}
	old := lines(document)
	var made []byte
	done := 0
	body := strings.SplitAfter(diff, "\n")[2:]
	for i := 0; i < len(body); i++ {
		line := body[i]
		if line == "" {
			continue
		}
		text := []byte(line[1:])
		if i+1 < len(body) && strings.HasPrefix(body[i+1], `\ No newline`) {
			text = bytes.TrimSuffix(text, []byte("\n"))
		}
		switch line[0] {
		case '@':
			var from, count int
			if _, err := fmt.Sscanf(line, "@@ -%d,%d", &from, &count); err != nil {
				t.Fatal(err)
			}
			if count > 0 {
				from--
			}
			for ; done < from; done++ {
				made = append(made, old[done]...)
			}
		case ' ', '-':
			if !bytes.Equal(old[done], text) {
				t.Fatalf("line %d is %q, the diff says %q", done+1, old[done], text)
			}
			if line[0] == ' ' {
				made = append(made, text...)
			}
			done++
		case '+':
			made = append(made, text...)
		}
	}
	for ; done < len(old); done++ {
		made = append(made, old[done]...)
	}
	return made
}

func TestDiff(t *testing.T) {
	for _, c := range [][2]string{
		{"", ""}, {"", "a\n"}, {"a\n", ""}, {"a", "a\n"}, {"a\nb\nc\n", "a\nc\n"},
		{"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", "1\nx\n3\n4\n5\n6\n7\n8\n9\n10\ny\n12\n"},
		{"1\n2\n3\n4\n5\n6\n7\n8\n", "1\nx\n3\n4\n5\n6\n7\ny"}, {"a\nb\na\nb\na\n", "b\na\na\nb\n"}, {"a\r\nb\n", "a\nb\n"},
	} {
		diff := Diff("vm", []byte(c[0]), []byte(c[1]))
		if (diff == "") != (c[0] == c[1]) {
			t.Errorf("%q and %q: %q", c[0], c[1], diff)
		}
		if got := patched(t, []byte(c[0]), diff); string(got) != c[1] {
			t.Errorf("%q is made of %q, not %q, by\n%s", got, c[0], c[1], diff)
		}
	}
}

// TestDiffAsDiff: what diff(1) prints, for every definition, but for its header.
func TestDiffAsDiff(t *testing.T) {
	if _, err := exec.LookPath("diff"); err != nil {
		t.Fatal("diff is in every distribution's base system: ", err)
	}
	for _, path := range definitions(t) {
		document := read(t, path)
		r, err := Attach(document, Share{Type: NineP, Source: "/tree/vm"})
		if err != nil || !r.Changed {
			continue
		}
		other := filepath.Join(t.TempDir(), "after.xml")
		if err := os.WriteFile(other, r.Document, 0o644); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.Command("diff", "-u", path, other).Output() // 1: they differ
		want := afterHeader(string(out))
		if got := afterHeader(Diff("vm", document, r.Document)); strings.ReplaceAll(got, ",1 ", " ") != strings.ReplaceAll(want, ",1 ", " ") {
			t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
		}
	}
}

func afterHeader(diff string) string {
	_, rest, _ := strings.Cut(diff, "\n")
	_, rest, _ = strings.Cut(rest, "\n")
	return rest
}
