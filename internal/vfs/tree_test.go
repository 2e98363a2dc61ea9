package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/energy"
)

// TestLayout walks a VM's directory through the kernel and compares it, whole, with what is promised.
func TestLayout(t *testing.T) {
	tree := NewTree("1.2.3", 64055)
	publish(t, tree, update(testTime, 987654321, VM{UUID: testUUID(1), Name: "web"}))
	path, _ := serve(t, tree)

	zone := func(dir, name, device, subsystem string) []string {
		return []string{
			dir + " dr-xr-xr-x",
			dir + "/device -> " + device,
			dir + `/enabled -r--r--r-- "1\n"`,
			dir + `/energy_uj -r--r----- "987654321\n"`,
			dir + `/max_energy_range_uj -r--r--r-- "262143328850\n"`,
			dir + `/name -r--r--r-- "` + name + `\n"`,
			dir + "/subsystem -> " + subsystem,
			dir + `/uevent -r--r--r-- ""`,
		}
	}
	want := slices.Concat([]string{
		". dr-xr-xr-x",
		"web dr-xr-xr-x",
		"web/intel-rapl dr-xr-xr-x",
		`web/intel-rapl/enabled -r--r--r-- "1\n"`,
		"web/intel-rapl/subsystem -> ..",
		`web/intel-rapl/uevent -r--r--r-- ""`,
		"web/intel-rapl:0 -> intel-rapl/intel-rapl:0",
		"web/intel-rapl:0:0 -> intel-rapl/intel-rapl:0/intel-rapl:0:0",
		"web/intel-rapl:0:1 -> intel-rapl/intel-rapl:0/intel-rapl:0:1",
		"web/scaph dr-xr-xr-x",
		`web/scaph/interval_ns -r--r--r-- "1000000000\n"`,
		`web/scaph/power_watts -r--r----- "12.50\n"`,
		`web/scaph/source -r--r--r-- "powercap\n"`,
		`web/scaph/updated_ns -r--r--r-- "1772366400123456789\n"`,
		`web/scaph/uuid -r--r--r-- "6f1e0000-0000-4000-8000-000000000001\n"`,
		`web/scaph/version -r--r--r-- "1.2.3\n"`,
	},
		zone("web/intel-rapl/intel-rapl:0", "package-0", "../../intel-rapl", "../.."),
		zone("web/intel-rapl/intel-rapl:0/intel-rapl:0:0", "core", "../../intel-rapl:0", "../../.."),
		zone("web/intel-rapl/intel-rapl:0/intel-rapl:0:1", "dram", "../../intel-rapl:0", "../../.."),
	)
	slices.Sort(want)
	got := describe(t, path)
	if d := difference(want, got); d != "" {
		t.Errorf("tree:\n%s", d)
	}

	// Every symlink leads somewhere within the VM's directory, and the way round comes back.
	for _, way := range []string{
		"intel-rapl:0/name", "intel-rapl:0:1/energy_uj", "intel-rapl/subsystem/intel-rapl:0/name",
		"intel-rapl:0/device/enabled", "intel-rapl:0/subsystem/scaph/uuid",
		"intel-rapl:0:0/device/name", "intel-rapl:0:0/subsystem/intel-rapl/enabled",
	} {
		if _, err := os.ReadFile(filepath.Join(path, "web", way)); err != nil {
			t.Error(err)
		}
	}
}

// describe lists all files below dir: mode and content, which must be as long as stat says.
func describe(t *testing.T, dir string) []string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			if int64(len(target)) != info.Size() {
				t.Errorf("%s: st_size %d, target %q", name, info.Size(), target)
			}
			lines = append(lines, name+" -> "+target)
		case d.IsDir():
			lines = append(lines, name+" "+info.Mode().String())
		default:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if int64(len(b)) != info.Size() {
				t.Errorf("%s: st_size %d, content %q", name, info.Size(), b)
			}
			if !info.ModTime().Equal(testTime) {
				t.Errorf("%s: mtime %v, published %v", name, info.ModTime(), testTime)
			}
			lines = append(lines, name+" "+info.Mode().String()+" "+strings.ReplaceAll(`"`+string(b)+`"`, "\n", `\n`))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func difference(want, got []string) string {
	var b strings.Builder
	for _, l := range want {
		if !slices.Contains(got, l) {
			b.WriteString("- " + l + "\n")
		}
	}
	for _, l := range got {
		if !slices.Contains(want, l) {
			b.WriteString("+ " + l + "\n")
		}
	}
	return b.String()
}

func TestMountOptions(t *testing.T) {
	tree := published(t)
	path, _ := serve(t, tree)
	for line := range strings.Lines(readFile(t, "/proc/self/mountinfo")) {
		if !strings.Contains(line, path) {
			continue
		}
		for _, option := range []string{"ro", "nosuid", "nodev", "noexec", "allow_other", "default_permissions", "user_id=0"} {
			if !slices.Contains(strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' }), option) {
				t.Errorf("no option %s in %s", option, line)
			}
		}
		if !strings.Contains(line, " - fuse.scaph scaph ") {
			t.Errorf("not known as ours: %s", line)
		}
		return
	}
	t.Error("not mounted")
}

// TestFreshBytes holds a file open over publishes, wraps included, and rewinds it.
func TestFreshBytes(t *testing.T) {
	tree := NewTree("test", 0)
	vm := VM{UUID: testUUID(1), Name: "web"}
	publish(t, tree, update(testTime, 9, vm))
	path, _ := serve(t, tree)
	f, err := os.Open(filepath.Join(path, "web/intel-rapl:0/energy_uj"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, c := range []struct {
		e    energy.Microjoules
		want string
	}{
		{10, "10\n"}, {99999, "99999\n"}, {EnergyRange - 1, "262143328849\n"}, {EnergyRange, "0\n"},
		{EnergyRange + 7, "7\n"}, {5*EnergyRange + 12345, "12345\n"},
	} {
		now := testTime.Add(time.Duration(i+1) * time.Second)
		publish(t, tree, update(now, c.e, vm))
		buf := make([]byte, 100)
		n, err := f.ReadAt(buf, 0)
		if n == 0 {
			t.Fatalf("after %d: %v", c.e, err)
		}
		if got := string(buf[:n]); got != c.want {
			t.Errorf("after %d: %q, want %q", c.e, got, c.want)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != int64(n) || !info.ModTime().Equal(now) {
			t.Errorf("after %d: st_size %d, mtime %v; read %d bytes, published %v", c.e, info.Size(), info.ModTime(), n, now)
		}
	}
}

// TestEndOfFile reads a value, has it grow by digits, and reads on, as os.ReadFile and cat do to find the end.
func TestEndOfFile(t *testing.T) {
	tree := NewTree("test", 0)
	vm := VM{UUID: testUUID(1), Name: "web"}
	publish(t, tree, update(testTime, 9, vm))
	path, _ := serve(t, tree)
	f, err := os.Open(filepath.Join(path, "web/intel-rapl:0/energy_uj"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 100)
	if n, err := f.Read(buf); string(buf[:n]) != "9\n" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	publish(t, tree, update(testTime, 123456, vm))
	if n, err := f.Read(buf); n != 0 {
		t.Errorf("read on after the end: %q, %v", buf[:n], err)
	}
	// A reader of single bytes gets the whole value while nothing is published.
	publish(t, tree, update(testTime, 234567, vm))
	var got []byte
	for off := int64(0); ; off++ {
		n, _ := f.ReadAt(buf[:1], off)
		if n == 0 {
			break
		}
		got = append(got, buf[0])
	}
	if string(got) != "234567\n" {
		t.Errorf("byte by byte: %q", got)
	}
}

// TestEndOfFileAcrossProcesses has a reader come to the end of a value that another process showed, and that had a digit
// less than the one that is there now.
func TestEndOfFileAcrossProcesses(t *testing.T) {
	tree := NewTree("test", 0)
	tree.resumes.Add(1)
	vm := VM{UUID: testUUID(1), Name: "web"}
	publish(t, tree, update(testTime, 100, vm))
	path, _ := serve(t, tree)
	f, err := os.Open(filepath.Join(path, "web/intel-rapl:0/energy_uj"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 100)
	if n, _ := f.ReadAt(buf, 3); n != 0 { // having read "99\n"
		t.Errorf("after the end of an earlier value: %q", buf[:n])
	}
	if n, _ := f.ReadAt(buf, 1); string(buf[:n]) != "00\n" {
		t.Errorf("in the middle: %q", buf[:n])
	}
	publish(t, tree, update(testTime, 200, vm))
	publish(t, tree, update(testTime, 3000, vm))
	if n, _ := f.ReadAt(buf, 3); string(buf[:n]) != "0\n" && n != 0 {
		t.Errorf("later: %q", buf[:n])
	}
}

// TestVanishWhileOpen removes a VM whose file and directory are held.
func TestVanishWhileOpen(t *testing.T) {
	tree := NewTree("test", 0)
	vms := testVMs(2)
	publish(t, tree, update(testTime, 5, vms...))
	path, _ := serve(t, tree)
	file, err := os.Open(filepath.Join(path, "vm0/intel-rapl:0/energy_uj"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	dir, err := os.Open(filepath.Join(path, "vm0"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()

	publish(t, tree, update(testTime, 6, vms[1]))
	if _, err := file.ReadAt(make([]byte, 20), 0); !errors.Is(err, unix.ENODEV) {
		t.Errorf("held file: %v, want ENODEV", err)
	}
	if _, err := dir.Readdirnames(0); !errors.Is(err, unix.ENOENT) {
		t.Errorf("held directory: %v, want ENOENT", err)
	}
	if _, err := unix.Openat(int(dir.Fd()), "scaph/uuid", unix.O_RDONLY, 0); !errors.Is(err, unix.ENOENT) {
		t.Errorf("below held directory: %v, want ENOENT", err)
	}
	if _, err := os.Stat(filepath.Join(path, "vm0")); !errors.Is(err, unix.ENOENT) {
		t.Errorf("lookup: %v, want ENOENT", err)
	}
	if got := readFile(t, path, "vm1/intel-rapl:0/energy_uj"); got != "6\n" {
		t.Errorf("the other VM: %q", got)
	}

	// The VM comes back: so does what was held.
	publish(t, tree, update(testTime, 7, vms...))
	buf := make([]byte, 20)
	if n, _ := file.ReadAt(buf, 0); string(buf[:n]) != "7\n" {
		t.Errorf("held file of a VM that came back: %q", buf[:n])
	}
}

// TestSameNameNewUUID gives a name to another VM, which must be another directory with a counter of its own.
func TestSameNameNewUUID(t *testing.T) {
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 1000, VM{UUID: testUUID(1), Name: "web"}))
	path, _ := serve(t, tree)
	held, err := os.Open(filepath.Join(path, "web/intel-rapl:0/energy_uj"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	before := inodeOf(t, filepath.Join(path, "web"))

	publish(t, tree, update(testTime, 0, VM{UUID: testUUID(2), Name: "web"}))
	if got := readFile(t, path, "web/intel-rapl:0/energy_uj"); got != "0\n" {
		t.Errorf("new VM starts at %q", got)
	}
	if after := inodeOf(t, filepath.Join(path, "web")); after == before {
		t.Error("the directory is the same")
	}
	if _, err := held.ReadAt(make([]byte, 20), 0); !errors.Is(err, unix.ENODEV) {
		t.Errorf("held file of the old VM: %v, want ENODEV", err)
	}
}

// TestRename keeps the node ids, and with them all that is held.
func TestRename(t *testing.T) {
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 1000, VM{UUID: testUUID(1), Name: "web"}))
	path, _ := serve(t, tree)
	before := inodeOf(t, filepath.Join(path, "web"))
	held, err := os.Open(filepath.Join(path, "web/intel-rapl:0/energy_uj"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	publish(t, tree, update(testTime, 1001, VM{UUID: testUUID(1), Name: "shop"}))
	if after := inodeOf(t, filepath.Join(path, "shop")); after != before {
		t.Errorf("inode %d became %d", before, after)
	}
	buf := make([]byte, 20)
	if n, _ := held.ReadAt(buf, 0); string(buf[:n]) != "1001\n" {
		t.Errorf("held file: %q", buf[:n])
	}
	if _, err := os.Stat(filepath.Join(path, "web")); !errors.Is(err, unix.ENOENT) {
		t.Errorf("old name: %v", err)
	}
}

// TestOff shows an empty directory.
func TestOff(t *testing.T) {
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 1000, VM{UUID: testUUID(1), Name: "web", Off: true}))
	path, _ := serve(t, tree)
	if got := describe(t, path); !slices.Equal(got, []string{". dr-xr-xr-x", "web dr-xr-xr-x"}) {
		t.Errorf("%q", got)
	}
	if _, err := os.Stat(filepath.Join(path, "web/intel-rapl:0")); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
}

func TestPublishRefusesBadUUIDs(t *testing.T) {
	tree := NewTree("test", 0)
	for range 2 { // the second publish compares with an index that lacks them
		err := tree.Publish(update(testTime, 1, VM{UUID: testUUID(1), Name: "a"}, VM{UUID: testUUID(1), Name: "b"}, VM{UUID: "../../etc", Name: "c"}))
		if err == nil || !strings.Contains(err.Error(), `"b"`) || !strings.Contains(err.Error(), `"c"`) {
			t.Errorf("%v", err)
		}
	}
	if dir := dirOf(tree, testUUID(1)); dir != "a" {
		t.Errorf("the first of them is in %q", dir)
	}
	if dir := dirOf(tree, "../../etc"); dir != "" {
		t.Errorf("a malformed UUID is shown in %q", dir)
	}
}

// TestListingWhileChanging reads the root in pages while VMs come and go: those that stay are listed just once.
func TestListingWhileChanging(t *testing.T) {
	tree := NewTree("test", 0)
	all := testVMs(400)
	publish(t, tree, update(testTime, 1, all...))
	path, _ := serve(t, tree)
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	seen := make(map[string]int)
	for i := 0; ; i++ {
		names, err := dir.Readdirnames(20)
		for _, n := range names {
			seen[n]++
		}
		if err != nil {
			break
		}
		// Even ones stay; odd ones come and go.
		var some []VM
		for j, vm := range all {
			if j%2 == 0 || (i+j)%4 == 1 {
				some = append(some, vm)
			}
		}
		publish(t, tree, update(testTime, 1, some...))
	}
	for j, vm := range all {
		if n := seen[vm.Name]; n > 1 || (j%2 == 0 && n != 1) {
			t.Errorf("%s listed %d times", vm.Name, n)
		}
	}
}

func inodeOf(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// TestTenantReadsItsOwnShareOnly reads all that there is in one VM's directory: it says nothing of another VM, and no
// symlink leads out of it.
func TestTenantReadsItsOwnShareOnly(t *testing.T) {
	tree := NewTree("test", 0)
	mine, other := VM{UUID: testUUID(1), Name: "mine"}, VM{UUID: testUUID(2), Name: "other"}
	u := update(testTime, 1111111, mine, other)
	for k := range u.VMs[1].Energy {
		u.VMs[1].Energy[k] = 2222222
	}
	u.VMs[1].Power = 99.5
	publish(t, tree, u)
	path, _ := serve(t, tree)
	root := filepath.Join(path, "mine")
	for _, line := range describe(t, root) {
		for _, secret := range []string{other.UUID, "other", "2222222", "3333333", "99.5"} {
			if strings.Contains(line, secret) {
				t.Errorf("tells of another: %s", line)
			}
		}
		if link, _, ok := strings.Cut(line, " -> "); ok {
			to, err := filepath.EvalSymlinks(filepath.Join(root, link))
			if err != nil || (to != root && !strings.HasPrefix(to, root+"/")) {
				t.Errorf("%s leads to %s, %v", line, to, err)
			}
		}
	}
}
