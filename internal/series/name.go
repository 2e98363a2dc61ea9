package series

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLabel bounds a label value, in bytes: names come from outside, and every scrape carries them.
const maxLabel = 256

// LabelValue makes a label value of a name from outside. What it returns, it returns unchanged.
func LabelValue(name string) string { return Printable(name, maxLabel) }

// Printable makes text that people and their terminals may see of a name from outside: valid UTF-8,
// printable, and at most limit bytes (at least 8). What is neither is shown as \xNN, so that it
// stays legible; what is too long ends in "…". Most names come back as they are, without an allocation.
func Printable(name string, limit int) string {
	if len(name) <= limit && isPrintable(name) {
		return name
	}
	return string(appendPrintable(nil, name, limit))
}

// appendPrintable appends what Printable returns.
func appendPrintable(b []byte, name string, limit int) []byte {
	if len(name) <= limit && isPrintable(name) {
		return append(b, name...)
	}
	const hex, ellipsis = "0123456789abcdef", "…"
	limit += len(b)
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
		escape := (r == utf8.RuneError && size == 1) || !unicode.IsPrint(r)
		need := size
		if escape {
			need *= len(`\x00`)
		}
		if left := limit - len(b); need > left || (need > left-len(ellipsis) && i+size < len(name)) {
			return append(b, ellipsis...)
		}
		for j := i; j < i+size; j++ {
			if c := name[j]; escape {
				b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
			} else {
				b = append(b, c)
			}
		}
		i += size
	}
	return b
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' { // look closer
			return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
		}
	}
	return true
}
