package vfs

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// maxName is the longest name of a directory entry, in bytes (limits.h).
const maxName = unix.NAME_MAX

const hexDigits = "0123456789ABCDEF"

// escape makes a directory name of a VM's name, which comes from outside and may hold anything. Ordinary
// names stay as they are, so that <tree>/<name> can be written into a domain's definition. A slash,
// control characters, bytes that are not UTF-8, a leading dot and the percent sign itself become %XX, byte by
// byte. A percent sign in the result is thus always followed by two hexadecimal digits, and different names
// have different results.
func escape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
		if r == '/' || r == '%' || unicode.IsControl(r) || (r == '.' && i == 0) || (r == utf8.RuneError && size == 1) {
			for _, c := range []byte(name[i : i+size]) {
				b.WriteByte('%')
				b.WriteByte(hexDigits[c>>4])
				b.WriteByte(hexDigits[c&0xf])
			}
		} else {
			b.WriteString(name[i : i+size])
		}
		i += size
	}
	return b.String()
}

// DirName gives the name of a VM's directory in the tree, provided that no other VM has the same name: its
// escaped name, or where that is empty or too long for a directory entry, part of it and the UUID, which must be
// canonical. Names of libvirt's domains are unique on a host.
func DirName(name, uuid string) string {
	if e := escape(name); e != "" && len(e) <= maxName {
		return e
	}
	return uniqueName(name, uuid)
}

// uniqueName is the name of the directory of a VM whose plain name is taken: as much of it as fits, and the
// UUID. The mark "%~" occurs in no escaped name, so it collides with none; the UUID must be canonical.
func uniqueName(name, uuid string) string {
	const mark = "%~"
	e := escape(name)
	if room := maxName - len(mark) - len(uuid); len(e) > room {
		e = e[:room]
		// Cut neither an escape nor a character in two.
		if i := strings.LastIndexByte(e, '%'); i > room-3 && i >= 0 {
			e = e[:i]
		}
		for e != "" {
			if r, size := utf8.DecodeLastRuneInString(e); r != utf8.RuneError || size != 1 {
				break
			}
			e = e[:len(e)-1]
		}
	}
	return e + mark + uuid
}

// isUUID tells whether s is a UUID in canonical form: 8-4-4-4-12 lower-case hexadecimal digits.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}
