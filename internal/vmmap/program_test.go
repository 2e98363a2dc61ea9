package vmmap

import "testing"

func TestIsQemu(t *testing.T) {
	for exe, want := range map[string]bool{
		"/usr/bin/qemu-system-x86_64":            true,
		"/usr/bin/qemu-system-aarch64 (deleted)": true,
		"/usr/libexec/qemu-kvm":                  true,
		"/usr/bin/kvm":                           true,
		"/usr/bin/grep":                          false,
		"/usr/bin/qemu-img":                      false,
		"/usr/bin/qemu-x86_64":                   false,
		"/opt/qemu-system-x86_64/bin/sleep":      false,
		"":                                       false,
		"/nix/store/0c9zz-qemu-8.2.2/bin/.qemu-system-x86_64-wrapped":            true,
		"/nix/store/0c9zz-qemu-8.2.2/bin/.qemu-system-x86_64-wrapped_ (deleted)": true,
		"/nix/store/0c9zz-qemu/bin/..qemu-kvm-wrapped-wrapped":                   true,
		"/gnu/store/0c9zz-qemu/bin/.qemu-kvm-real":                               true,
		"/usr/libexec/qemu-kvm;5a384735 (deleted)":                               true,
		"/usr/libexec/qemu-kvm;5a384735":                                         true,
		"/usr/bin/qemu-system-s390x;5a384735 (deleted)":                          true,
		"/usr/libexec/qemu-kvm;5a38473":                                          false, // not how rpm names it
		"/usr/libexec/qemu-kvm;5a38473x":                                         false,
		"/usr/bin/.bash-wrapped":                                                 false,
		"/usr/bin/.qemu-kvm":                                                     false,
		"/usr/bin/;5a384735":                                                     false,
		".":                                                                      false,
	} {
		if got := isQemu(exe); got != want {
			t.Errorf("isQemu(%q) = %v", exe, got)
		}
	}
}

func TestIsHelper(t *testing.T) {
	for exe, want := range map[string]bool{
		"/usr/libexec/virtiofsd":                                 true,
		"/usr/libexec/virtiofsd;5a384735 (deleted)":              true,
		"/nix/store/0c9zz-virtiofsd/bin/.virtiofsd-wrapped":      true,
		"/nix/store/0c9zz-swtpm/bin/.swtpm-wrapped (deleted)":    true,
		"/nix/store/0c9zz-qemu/bin/.qemu-storage-daemon-wrapped": true,
		"/usr/bin/passt.avx2;5a384735 (deleted)":                 true,
		"/usr/bin/passt.avx2":                                    true,
		"/usr/bin/passthrough":                                   false,
		"/usr/bin/.swtpm_setup-wrapped":                          false,
		"/usr/bin/qemu-storage-daemons":                          false,
	} {
		if got := isHelper(exe); got != want {
			t.Errorf("isHelper(%q) = %v", exe, got)
		}
	}
}

// The kernel cuts a name at 15 bytes, wherever that is.
func TestNamedLike(t *testing.T) {
	for comm, want := range map[string][2]bool{ // a qemu, a helper
		"qemu-system-x86": {true, false},
		".qemu-system-x8": {true, false},
		"..qemu-system-x": {true, false},
		"qemu-kvm":        {true, false},
		".qemu-kvm-wrapp": {true, false},
		".kvm-wrapped":    {true, false},
		"kvm":             {true, false},
		"kvm-pit/123":     {false, false},
		"qemu-img":        {false, false},
		"virtiofsd":       {false, true},
		".virtiofsd-wrap": {false, true},
		".passt-wrapped":  {false, true},
		"qemu-storage-da": {false, true},
		".qemu-storage-d": {false, true},
		"qemu-storage":    {false, false},
		"":                {false, false},
	} {
		if got := [2]bool{NamedLikeQemu(comm), namedLikeHelper(comm)}; got != want {
			t.Errorf("%q: %v, want %v", comm, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { NamedLikeQemu("kworker/0:1-eve") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
