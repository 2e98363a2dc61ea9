package vmmap

import "testing"

func FuzzCgroup(f *testing.F) {
	f.Add([]byte("0::/machine/qemu-1-web.libvirt-qemu/emulator\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
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
