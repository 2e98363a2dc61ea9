//go:build lab

package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/wait"
)

// testNames defines machines with every kind of name that libvirt allows and looks for their directories and
// labels. An ordinary name is the name of its directory; what a file cannot be called or may mislead is escaped.
// MARK stands for what marks a domain as the lab's.
func testNames(t *testing.T, g *ground) {
	for _, c := range []struct {
		name      string
		directory string // the name, if empty
		label     string // the name, if empty
		runs      bool   // it is started too: qemu's command line has the name
	}{
		{name: " MARK two words  and more "},
		{name: "MARK.."},
		{name: "..MARK", directory: "%2E.MARK"},
		{name: ".MARK", directory: "%2EMARK"},
		{name: `MARK quotes"'&<>\$(id)`, runs: true},
		{name: "MARK,b=c,,guest=d,debug-threads=on", runs: true},
		{name: `MARK{uuid="x"} 1`},
		{name: "MARK 100%25", directory: "MARK 100%2525"},
		{name: "MARK zürich \u6771\u4eac \U0001f50b"},
		{name: "MARK\u202eabc", label: `MARK\xe2\x80\xaeabc`},
		{name: "MARK\u0085", directory: "MARK%C2%85", label: `MARK\xc2\x85`},
		{name: "MARK" + strings.Repeat("%", 90), directory: "UUID", runs: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			vm := newGuest(t, "name", "none", "", g.meter.tree).domain
			mark := strings.NewReplacer("MARK", vm.name)
			vm.name, vm.boots = mark.Replace(c.name), false
			if c.directory == "" {
				c.directory = c.name
			}
			if c.label == "" {
				c.label = c.name
			}
			vm.define(t)
			wait.Until(t, "its series", listing, func() bool { return len(g.watch.now().Find("scaph_vm_info", "uuid", vm.uuid)) == 1 })
			if label := g.watch.now().Find("scaph_vm_info", "uuid", vm.uuid)[0].Labels["vm"]; label != mark.Replace(c.label) {
				t.Errorf("it is called %q in the metrics, not %q", label, mark.Replace(c.label))
			}
			directory := mark.Replace(c.directory)
			if c.directory == "UUID" { // escaped it would be too long: as much of it as fits, and the UUID
				directory = endingIn(t, g.meter.tree, "%~"+vm.uuid)
			}
			vm.source = filepath.Join(g.meter.tree, directory)
			text, err := os.ReadFile(filepath.Join(vm.source, "scaph", "uuid"))
			if err != nil || string(text) != vm.uuid+"\n" {
				t.Errorf("its directory says that it is %q, %v", text, err)
			}
			if c.runs {
				vm.start(t)
				wait.Until(t, "its energy", 2*listing, func() bool {
					return g.watch.now().Basis("scaph_vm_energy_joules_total", "uuid", vm.uuid, "vm", mark.Replace(c.label)) > 0
				})
			}
			removeDomain(t, vm.uuid)
			awaitPath(t, vm.source, false)
		})
	}
	for _, name := range []string{"MARK/b", "../MARK", "/MARK", "MARK\nsecond line", "MARK\x01", ""} {
		vm := newGuest(t, "refused", "none", "", g.meter.tree).domain
		vm.name, vm.boots = strings.ReplaceAll(name, "MARK", vm.name), false
		if code, stderr := vm.tryDefine(t); code == 0 {
			t.Errorf("libvirt takes the name %q, so it belongs above", vm.name)
			removeDomain(t, vm.uuid)
		} else {
			t.Logf("libvirt refuses %q: %s", vm.name, strings.TrimSpace(stderr))
		}
	}
}

// testNameAgain defines, when a machine is gone, another of the same name: another meter, which starts at 0.
func testNameAgain(t *testing.T, g *ground) {
	first := newGuest(t, "again", "none", "", g.meter.tree).domain
	first.boots = false
	counter := filepath.Join(first.source, "intel-rapl:0", "energy_uj")
	energy := func(vm domain) uint64 { return g.watch.now().Basis("scaph_vm_energy_joules_total", "uuid", vm.uuid) }
	first.define(t)
	awaitPath(t, counter, true)
	first.start(t)
	wait.Until(t, "energy of the first", listing, func() bool { return energy(first) > 0 })
	held, err := os.Open(counter)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	removeDomain(t, first.uuid)
	awaitPath(t, first.source, false)

	second := newGuest(t, "again", "none", "", g.meter.tree).domain
	second.boots = false
	second.define(t)
	awaitPath(t, counter, true)
	for path, want := range map[string]string{counter: "0\n", filepath.Join(second.source, "scaph", "uuid"): second.uuid + "\n"} {
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("%s of the second: %q, %v, not %q", filepath.Base(path), text, err, want)
		}
	}
	if _, err := held.ReadAt(make([]byte, 64), 0); !errors.Is(err, unix.ENODEV) {
		t.Errorf("a descriptor of the first machine's counter reads %v, not ENODEV", err)
	}
	if energy(second) != 0 || energy(first) == 0 {
		t.Errorf("the second has %d µJ, the first %d µJ", energy(second), energy(first))
	}
}

// endingIn gives the one entry of a directory whose name ends so.
func endingIn(t *testing.T, directory, suffix string) string {
	t.Helper()
	entries, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			return e.Name()
		}
	}
	t.Fatalf("nothing in %s ends in %s", directory, suffix)
	return ""
}
