package vmmap

import (
	"slices"
	"strings"
	"testing"
)

const (
	uuidA = "03deae90-1b70-403f-b41c-991f9d83d8c0"
	uuidB = "11111111-2222-4333-8444-555555555555"
)

// noConfig is where no file of -readconfig can be read.
func noConfig(string) ([]byte, error) { return nil, errUnsafe }

func TestParseArgvFollowsQemu(t *testing.T) {
	cases := []struct {
		title string
		argv  []string
		want  identity
	}{
		{"libvirt", []string{"-name", "guest=web,debug-threads=on", "-S", "-smp", "1,maxcpus=2,sockets=2,cores=1,threads=1", "-uuid", uuidA},
			identity{uuid: uuidA, name: "web", vcpus: 1}},
		{"implied key", []string{"-name", "web"}, identity{name: "web", vcpus: 1}},
		{"two dashes", []string{"--name", "web", "--uuid", uuidA}, identity{uuid: uuidA, name: "web", vcpus: 1}},
		{"comma in a name", []string{"-name", "guest=a,,b,debug-threads=on"}, identity{name: "a,b", vcpus: 1}},
		{"comma in an implied name", []string{"-name", "a,,b=c,,,debug-threads=on"}, identity{name: "a,b=c,", vcpus: 1}},
		{"equals sign in a name", []string{"-name", "guest=a=b"}, identity{name: "a=b", vcpus: 1}},
		{"guest not first", []string{"-name", "process=x,guest=web"}, identity{name: "web", vcpus: 1}},
		{"no guest", []string{"-name", "process=x"}, identity{vcpus: 1}},
		{"last one holds", []string{"-name", "a", "-uuid", uuidB, "-name", "guest=b", "-uuid", uuidA}, identity{uuid: uuidA, name: "b", vcpus: 1}},
		{"upper case", []string{"-uuid", strings.ToUpper(uuidA)}, identity{uuid: uuidA, vcpus: 1}},
		{"equals is not qemu's syntax", []string{"-uuid=" + uuidA, "-name=web", "-S"}, identity{vcpus: 1}},
		{"invalid UUID", []string{"-uuid", "../../etc/passwd", "-name", "web"}, identity{name: "web", vcpus: 1}},
		{"UUID in braces", []string{"-uuid", "{" + uuidA + "}"}, identity{vcpus: 1}},
		{"null UUID", []string{"-uuid", "00000000-0000-0000-0000-000000000000"}, identity{vcpus: 1}},
		{"Proxmox", []string{"-id", "100", "-name", "db,debug-threads=on", "-smbios", "type=1,uuid=" + uuidA, "-smp", "4,sockets=1,cores=4,maxcpus=4"},
			identity{uuid: uuidA, id: "100", name: "db", vcpus: 4}},
		{"uuid beats smbios", []string{"-smbios", "type=1,uuid=" + uuidA, "-uuid", uuidB}, identity{uuid: uuidB, vcpus: 1}},
		{"another smbios table", []string{"-smbios", "type=2,uuid=" + uuidA}, identity{vcpus: 1}},
		{"kernel command line", []string{"-append", "-uuid", "-name", "web"}, identity{name: "web", vcpus: 1}},
		{"no value", []string{"-uuid"}, identity{vcpus: 1}},
		{"cpus", []string{"-smp", "cpus=3,maxcpus=8"}, identity{vcpus: 3}},
		{"maxcpus alone", []string{"-smp", "maxcpus=8"}, identity{vcpus: 8}},
		{"topology alone", []string{"-smp", "sockets=2,cores=3,threads=2"}, identity{vcpus: 12}},
		{"nonsense", []string{"-smp", "many"}, identity{vcpus: 0}},
		{"negative", []string{"-smp", "-4"}, identity{vcpus: 0}},
		{"property of the machine", []string{"-machine", "q35,smp.cpus=4"}, identity{vcpus: 4}},
		{"short for it", []string{"-M", "smp.cpus=5"}, identity{vcpus: 5}},
		{"topology of the machine", []string{"-machine", "type=q35,accel=kvm,smp.sockets=2,smp.cores=3"}, identity{vcpus: 6}},
		{"the machine's CPUs are the same as -smp's", []string{"-smp", "2,maxcpus=8", "-machine", "smp.cpus=4"}, identity{vcpus: 4}},
		{"and the last one holds", []string{"-M", "q35,smp.cpus=4", "-smp", "3"}, identity{vcpus: 3}},
		{"nonsense of the machine", []string{"-M", "smp.cpus=-1"}, identity{}},
		{"a machine that has one", []string{"-M", "pc-q35-7.2,accel=kvm"}, identity{vcpus: 1}},
		{"a board that may have more", []string{"-M", "raspi4b"}, identity{}},
		{"a file that cannot be read", []string{"-smp", "2", "-readconfig", "/x.cfg"}, identity{}},
		{"CPUs said after it", []string{"-readconfig", "/x.cfg", "-smp", "2"}, identity{vcpus: 2}},
		{"path in a name", []string{"-name", "guest=../../x"}, identity{name: "../../x", vcpus: 1}},
	}
	for _, c := range cases {
		t.Run(c.title, func(t *testing.T) {
			if got := parseArgv(slices.Concat([]string{"qemu-system-x86_64"}, c.argv), noConfig); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// The number of CPUs in a file is as good as one on the command line, and the last one holds.
func TestParseArgvReadsConfigurations(t *testing.T) {
	files := map[string]string{
		"/smp.cfg":     "# qemu config file\n\n[machine]\n  type = \"q35\"\n\n[smp-opts]\n  cpus = \"4\"\n  maxcpus = \"8\"\n",
		"/machine.cfg": "[machine]\n  type = \"q35\"\n  smp.cpus = \"6\"\n[device \"net0\"]\n  cpus = \"9\"\n",
		"/name.cfg":    "[name]\n  guest = \"web\"\n[smbios]\n  type = \"1\"\n  uuid = \"" + uuidA + "\"\n",
		"/board.cfg":   "[machine]\n  type = \"raspi4b\"\n",
		"/cut.cfg":     "[smp-opts]\n  cpus = \"4",
		"/empty.cfg":   "",
	}
	for title, c := range map[string]struct {
		argv []string
		want identity
	}{
		"-smp's":              {[]string{"-readconfig", "/smp.cfg"}, identity{vcpus: 4}},
		"the machine's":       {[]string{"-readconfig", "/machine.cfg"}, identity{vcpus: 6}},
		"then said":           {[]string{"-readconfig", "/smp.cfg", "-smp", "2"}, identity{vcpus: 2}},
		"said before":         {[]string{"-smp", "2", "-readconfig", "/smp.cfg"}, identity{vcpus: 4}},
		"name and UUID":       {[]string{"-readconfig", "/name.cfg"}, identity{uuid: uuidA, name: "web", vcpus: 1}},
		"a board":             {[]string{"-readconfig", "/board.cfg"}, identity{}},
		"a line that was cut": {[]string{"-readconfig", "/cut.cfg", "-name", "x"}, identity{name: "x", vcpus: 1}},
		"nothing in it":       {[]string{"--readconfig", "/empty.cfg"}, identity{vcpus: 1}},
	} {
		got := parseArgv(slices.Concat([]string{"kvm"}, c.argv), func(path string) ([]byte, error) { return []byte(files[path]), nil })
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", title, got, c.want)
		}
	}
}

func TestParseCmdlineLeavesOutAnArgumentThatWasCut(t *testing.T) {
	got := parseCmdline([]byte("kvm\x00-name\x00web\x00-uuid\x00"+uuidA), noConfig)
	if got != (identity{}) {
		t.Errorf("got %+v of a command line that was cut before its UUID, want nothing", got)
	}
	got = parseCmdline([]byte("kvm\x00-name\x00web\x00-uuid\x00"+uuidA+"\x00-smp\x008"), noConfig)
	if got != (identity{name: "web", uuid: uuidA}) {
		t.Errorf("got %+v, want the CPUs unknown", got)
	}
}

func TestDerivedUUIDIsStableAndEachUsersOwn(t *testing.T) {
	db := identity{id: "100", name: "db"}
	// The value is a promise: another one would start every such meter anew.
	if got := derivedUUID(db, 0); got != "3e0e512b-a616-5c95-beb1-8fbdefb2a33d" {
		t.Errorf("derivedUUID = %s", got)
	}
	renamed := identity{id: "100", name: "database"}
	if derivedUUID(db, 0) != derivedUUID(renamed, 0) {
		t.Error("another name gave another UUID, though the id is the same")
	}
	if derivedUUID(db, 0) == derivedUUID(db, 1000) {
		t.Error("two users share a UUID")
	}
	if got := derivedUUID(identity{}, 0); got != "" {
		t.Errorf("a qemu without id or name got %s", got)
	}
}

func FuzzParseCmdline(f *testing.F) {
	f.Add([]byte("kvm\x00-name\x00guest=a,,b\x00-uuid\x00" + uuidA + "\x00-smp\x002,maxcpus=4\x00"))
	f.Add([]byte("\x00--smbios\x00type=1,uuid=x\x00-append\x00"))
	f.Fuzz(func(t *testing.T, cmdline []byte) {
		id := parseCmdline(cmdline, noConfig)
		if id.uuid != "" && canonicalUUID(id.uuid) != id.uuid {
			t.Errorf("UUID %q is not canonical", id.uuid)
		}
		if id.vcpus < 0 || id.vcpus > maxVCPUs {
			t.Errorf("%d virtual CPUs", id.vcpus)
		}
	})
}

// An option value written by qemu's rules comes back unchanged, whatever is in it.
func FuzzOptionValue(f *testing.F) {
	f.Add("a,b=,c", "x")
	f.Fuzz(func(t *testing.T, name, other string) {
		escape := func(s string) string { return strings.ReplaceAll(s, ",", ",,") }
		got := parseOptions("guest="+escape(name)+",process="+escape(other), "guest")
		if got["guest"] != name || got["process"] != other || len(got) != 2 {
			t.Errorf("%q, %q came back as %q", name, other, got)
		}
	})
}
