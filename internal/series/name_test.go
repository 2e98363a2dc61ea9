package series

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"web-01":                "web-01",
		"Zürich 東京":             "Zürich 東京",
		"a\xffb":                `a\xffb`,
		"\x1b[31mred":           `\x1b[31mred`,
		"a\nb\x00":              `a\x0ab\x00`,
		"\u202egnp.exe":         `\xe2\x80\xaegnp.exe`, // turns the direction of writing around
		strings.Repeat("x", 40): strings.Repeat("x", 40),
		strings.Repeat("x", 41): strings.Repeat("x", 37) + "…",
		strings.Repeat("ü", 21): strings.Repeat("ü", 18) + "…",
	} {
		if got := Printable(in, 40); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\xff\x1b", uint8(20))
	f.Add(strings.Repeat("ü", 200), uint8(200))
	f.Fuzz(func(t *testing.T, s string, n uint8) {
		limit := max(8, int(n))
		got := Printable(s, limit)
		if len(got) > limit || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q gives %q", s, got)
		}
	})
}
