package proc

import (
	"slices"
	"strings"
	"testing"
)

// The real user started it, even if the program is set-user-ID: such a file may be linked to a
// qemu's name.
func TestParseStatus(t *testing.T) {
	s, err := ParseStatus([]byte("Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t1\nNSpid:\t12\n"))
	if err != nil || s != (Status{UID: 1000}) {
		t.Errorf("got %+v, %v", s, err)
	}
	if s, err := ParseStatus([]byte("Uid:\t0\t0\t0\t0\nNSpid:\t12\t1\n")); err != nil || !s.Nested {
		t.Errorf("in a PID namespace: %+v, %v", s, err)
	}
	for _, text := range []string{"Name:\tx\n", "", "Uid:\n", "Uid:\tx\t0\n", "Uid:\t4294967296\t0\n"} {
		if s, err := ParseStatus([]byte(text)); err == nil || s.UID != NoUID {
			t.Errorf("%q became %+v, %v", text, s, err)
		}
	}
}

func TestCgroups(t *testing.T) {
	for text, want := range map[string]string{
		"0::/init.scope\n":                     "/init.scope",
		"9:name=systemd:/a\n3:cpuset:/b\n0::/": "/a /b /",
		"0::/with:a colon\n":                   "/with:a colon",
		"":                                     "",
		"x:y\n":                                "",
	} {
		var got []string
		for path := range Cgroups([]byte(text)) {
			got = append(got, string(path))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestSplitCmdline(t *testing.T) {
	for _, c := range []struct {
		text  string
		argv  []string
		whole bool
	}{
		{"qemu\x00-name\x00\x00", []string{"qemu", "-name", ""}, true},
		{"qemu\x00-na", []string{"qemu"}, false},
		{"qemu", nil, false},
		{"", nil, true}, // of a kernel thread, or a zombie
	} {
		if argv, whole := SplitCmdline([]byte(c.text)); !slices.Equal(argv, c.argv) || whole != c.whole {
			t.Errorf("%q: %q, %v", c.text, argv, whole)
		}
	}
}

func TestExecutable(t *testing.T) {
	for target, want := range map[string]string{
		"/usr/bin/kvm":                             "/usr/bin/kvm",
		"/usr/bin/kvm (deleted)":                   "/usr/bin/kvm",
		"/usr/libexec/qemu-kvm;5a384735":           "/usr/libexec/qemu-kvm",
		"/usr/libexec/qemu-kvm;5a384735 (deleted)": "/usr/libexec/qemu-kvm",
		"/usr/bin/a;5a38473":                       "/usr/bin/a;5a38473",
		"/usr/bin/a;5a38473g":                      "/usr/bin/a;5a38473g",
		"/usr/bin/;5a384735":                       "/usr/bin/;5a384735", // it would have no name
		"/usr/bin/a (deleted) (deleted)":           "/usr/bin/a (deleted)",
		"kvm;5a384735":                             "kvm",
		";5a384735":                                ";5a384735",
		"":                                         "",
		" (deleted)":                               "",
		"/memfd:x (deleted)":                       "/memfd:x",
	} {
		if got := Executable(target); got != want {
			t.Errorf("%q: %q, want %q", target, got, want)
		}
	}
}

func FuzzTexts(f *testing.F) {
	f.Add([]byte("Uid:\t1000\t0\t0\t0\nNSpid:\t12\n0::/a\nx\x00y\x00"))
	f.Add([]byte("/;5a384735 (deleted)"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = ParseStatus(text)
		for range Cgroups(text) {
			continue
		}
		_, _ = SplitCmdline(text)
		_ = Executable(string(text))
	})
}
