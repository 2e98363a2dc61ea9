package vmmap

import (
	"testing"

	"github.com/scaph/scaph/internal/proc"
)

func TestParseStat(t *testing.T) {
	const rest = " S 7 13647 13647 0 -1 138412416 5672 0 0 0 31 9 0 0 20 0 4 0 89485 1405071360 9129"
	for text, want := range map[string]observed{
		"13648 (qemu-system-x86)" + rest:                                 {ID: proc.ID{PID: 13648, Start: 89485}, parent: 7, comm: commOf([]byte("qemu-system-x86"))},
		"1 (a) R 1 (b)" + rest:                                           {ID: proc.ID{PID: 1, Start: 89485}, parent: 7, comm: commOf([]byte("a) R 1 (b"))},
		"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 5 0": {ID: proc.ID{PID: 2, Start: 5}, comm: commOf([]byte("kthreadd")), kernel: true},
	} {
		if got, err := parseStat([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1", "1 (a", "1 a) S", "1 (a) S 2", "x (a)" + rest, "1 (a) S x" + rest} {
		if got, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q was accepted: %+v", text, got)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("13648 (qemu-system-x86) S 7 13647 13647 0 -1 138412416 5672 0 0 0 31 9 0 0 20 0 4 0 89485 1405071360"))
	f.Add([]byte(")("))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = parseStat(text)
		_, _ = parseCredentials(text)
		_ = containerOf(text)
		_ = machineScope(text)
	})
}

func FuzzParsePID(f *testing.F) {
	f.Add([]byte("13648\n"))
	f.Add([]byte("-1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if pid, err := parsePID(text); err == nil && pid <= 0 {
			t.Errorf("%q is process %d", text, pid)
		}
	})
}

// The real user started it, even if the program is set-user-ID: such a file may be linked to a
// qemu's name.
func TestParseCredentials(t *testing.T) {
	c, err := parseCredentials([]byte("Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t1\nNSpid:\t12\n"))
	if err != nil || c != (credentials{uid: 1000}) {
		t.Errorf("got %+v, %v", c, err)
	}
	if c, err := parseCredentials([]byte("Uid:\t0\t0\t0\t0\nNSpid:\t12\t1\n")); err != nil || !c.nested {
		t.Errorf("in a PID namespace: %+v, %v", c, err)
	}
	if c, err := parseCredentials([]byte("Name:\tx\n")); err == nil || c.uid != noUID {
		t.Errorf("no uid became %+v, %v", c, err)
	}
}

func TestMachineScope(t *testing.T) {
	for text, want := range map[string]string{
		"0::/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/emulator\n":     "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope",
		"0::/machine/qemu-1-web.libvirt-qemu/emulator\n":                            "/machine/qemu-1-web.libvirt-qemu",
		"9:name=systemd:/\n3:cpuset:/machine/qemu-1-web.libvirt-qemu/vcpu0\n0::/\n": "/machine/qemu-1-web.libvirt-qemu",
		"0::/qemu.slice/100.scope\n":                                                "/qemu.slice/100.scope",
		"0::/system.slice/libvirtd.service\n":                                       "",
		"0::/machine.slice\n":                                                       "",
		"0::/machine.slice/machine-fedora.scope\n":                                  "",
		"0::/user.slice/user-1000.slice/session-3.scope\n":                          "",
		"0::/kubepods.slice/pod1/qemu.slice-not/100.scope\n":                        "",
		"":      "",
		"x:y\n": "",
	} {
		if got := machineScope([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
