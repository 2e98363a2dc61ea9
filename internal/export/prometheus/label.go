package prometheus

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLabel bounds a label value, in bytes: names come from outside, and every scrape carries them.
const maxLabel = 256

// clean makes a label value of a name from outside: valid UTF-8, printable, and not too long. What is
// neither is shown as \xNN, so that it stays legible and cannot play tricks on a terminal. Most
// names come back as they are, without an allocation.
func clean(s string) string {
	if len(s) <= maxLabel && isClean(s) {
		return s
	}
	const hex, ellipsis = "0123456789abcdef", "…"
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		escape := (r == utf8.RuneError && size == 1) || !unicode.IsPrint(r)
		need := size
		if escape {
			need = len(`\x00`) * size
		}
		if b.Len()+need > maxLabel-len(ellipsis) {
			b.WriteString(ellipsis)
			break
		}
		for _, c := range []byte(s[i : i+size]) {
			if escape {
				b.WriteString(`\x`)
				b.WriteByte(hex[c>>4])
				b.WriteByte(hex[c&15])
			} else {
				b.WriteByte(c)
			}
		}
		i += size
	}
	return b.String()
}

func isClean(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
		}
	}
	return true
}
