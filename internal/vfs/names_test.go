package vfs

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDirectoryNames(t *testing.T) {
	const uuid = "6f1e0000-0000-4000-8000-000000000001"
	long := strings.Repeat("x", 255)
	for _, c := range []struct{ name, want string }{
		// Ordinary names stand as they are: a domain's definition names <tree>/<name>.
		{"web", "web"},
		{"web-1_a.b", "web-1_a.b"},
		{"instance-0000002a", "instance-0000002a"},
		{"one two", "one two"},
		{"Größe 大", "Größe 大"},
		{"a:b,c=d", "a:b,c=d"},
		{"~", "~"},
		{"-rf", "-rf"},
		{long, long},
		// Hostile ones do not.
		{"", "%~" + uuid},
		{".", "%2E"},
		{"..", "%2E."},
		{"../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"},
		{".hidden", "%2Ehidden"},
		{"a/b", "a%2Fb"},
		{"a\x00b", "a%00b"},
		{"a\nb\x7f", "a%0Ab%7F"},
		{"a\u0085b", "a%C2%85b"},
		{"a%2Fb", "a%252Fb"},
		{"\xff\xfe", "%FF%FE"},
		{"a\xc3", "a%C3"},
		{"\ufffd", "\ufffd"}, // the replacement character itself is valid
		{goFuseProbe, "%2Ego-fuse-epoll-hack"},
		{long + "y", strings.Repeat("x", 217) + "%~" + uuid},
		{strings.Repeat("/", 100), strings.Repeat("%2F", 72) + "%~" + uuid},
		{"xx" + strings.Repeat("/", 100), "xx" + strings.Repeat("%2F", 71) + "%~" + uuid},
		{strings.Repeat("大", 100), strings.Repeat("大", 72) + "%~" + uuid},
	} {
		if got := DirName(c.name, uuid); got != c.want {
			t.Errorf("DirName(%q) = %q, want %q", c.name, got, c.want)
		}
	}
}

// FuzzDirectoryNames puts two VMs into the tree: each must have a directory of its own, whose name is safe.
func FuzzDirectoryNames(f *testing.F) {
	long := strings.Repeat("x", 255)
	for _, s := range [][2]string{
		{"web", "web"}, {"web", "Web"}, {"a/b", "a%2Fb"}, {"..", "%2E."}, {"", ""}, {long, long}, {long + "a", long + "b"},
		{"web", "web%~" + testUUID(2)}, {"\xff", "%FF"}, {"a\x00", "a"}, {strings.Repeat("大", 90), strings.Repeat("大", 91)},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		vms := []VM{{UUID: testUUID(1), Name: a}, {UUID: testUUID(2), Name: b}}
		x := newIndex(vms, new(index))
		for i, dir := range x.dirs {
			if dir == "" || dir == "." || dir == ".." || len(dir) > maxName || strings.ContainsAny(dir, "/\x00\n") || !utf8.ValidString(dir) || dir[0] == '.' {
				t.Errorf("%q has directory %q", vms[i].Name, dir)
			}
			if x.byDir[dir] != i {
				t.Errorf("directory %q of %q leads to another VM", dir, vms[i].Name)
			}
		}
		if x.dirs[0] == x.dirs[1] {
			t.Errorf("%q and %q share directory %q", a, b, x.dirs[0])
		}
		if a != b && escape(a) == escape(b) {
			t.Errorf("%q and %q both become %q", a, b, escape(a))
		}
		// Which of them gets the plain name does not depend on the order.
		y := newIndex([]VM{vms[1], vms[0]}, new(index))
		if x.dirs[0] != y.dirs[1] || x.dirs[1] != y.dirs[0] {
			t.Errorf("%q and %q: %q one way round, %q the other", a, b, x.dirs, y.dirs)
		}
		// And whoever has one keeps it, whoever comes.
		for i := range vms {
			alone := newIndex(vms[i:i+1], new(index))
			if both := newIndex(vms, alone); both.dirs[i] != alone.dirs[0] || both.dirs[0] == both.dirs[1] {
				t.Errorf("%q had directory %q, and beside another %q", vms[i].Name, alone.dirs[0], both.dirs)
			}
		}
	})
}
