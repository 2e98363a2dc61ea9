package attach

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func read(t testing.TB, path string) []byte {
	t.Helper()
	document, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// definitions are those of many makers.
func definitions(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d definitions, %v", len(paths), err)
	}
	return paths
}

// TestDefinitions attaches a meter to each definition, by each type, compares what that changes with the golden files, and
// detaches it again.
func TestDefinitions(t *testing.T) {
	for _, path := range definitions(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".xml"), func(t *testing.T) {
			document := read(t, path)
			var got strings.Builder
			for _, asked := range []Type{Virtiofs, NineP, Auto} {
				fmt.Fprintf(&got, "# --type %s\n", asked)
				r, err := Attach(document, Share{Type: asked, Source: "/tree/vm"})
				if err != nil {
					fmt.Fprintf(&got, "error: %v\n", err)
					continue
				}
				if asked == Auto {
					fmt.Fprintf(&got, "type: %s; instead of virtiofs: %q\n", r.Type, r.Instead)
					continue
				}
				fmt.Fprintf(&got, "changed: %v; memory: shared %v, in a file %v\n", r.Changed, r.MemoryShared, r.MemoryInFile)
				got.WriteString(Diff(path, document, r.Document))
				checkAttached(t, document, r, asked)
			}
			golden := strings.TrimSuffix(path, ".xml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(read(t, golden)); got.String() != want {
				t.Errorf("got\n%s\nwant\n%s", got.String(), want)
			}
		})
	}
}

// checkAttached holds what Attach made to what everybody relies on.
func checkAttached(t *testing.T, document []byte, r Result, asked Type) {
	t.Helper()
	v, err := Look(r.Document)
	if err != nil || v.Share != asked || v.Source != "/tree/vm" {
		t.Fatalf("the document has %+v, %v", v, err)
	}
	if asked == Virtiofs && !v.MemoryShared {
		t.Error("virtiofs without shared memory: libvirt refuses that")
	}
	again, err := Attach(r.Document, Share{Type: asked, Source: "/tree/vm"})
	if err != nil || again.Changed || !bytes.Equal(again.Document, r.Document) {
		t.Errorf("once more: changed %v, %v", again.Changed, err)
	}
	if !r.Changed {
		return
	}
	if rest := without(r.Document, document); rest != nil {
		t.Errorf("%q of the definition did not survive", rest)
	}
	back, err := Detach(r.Document)
	if err != nil || !back.Changed || back.Foreign || back.MemoryKept != "" || back.Type != asked {
		t.Fatalf("detach: %+v, %v", back, err)
	}
	if !bytes.Equal(back.Document, document) {
		t.Errorf("detached, it differs by\n%s", Diff("", document, back.Document))
	}
}

// without returns what of a document is not, in this order, in another one; the slash of an element that was empty may go.
func without(longer, document []byte) []byte {
	for _, c := range longer {
		if bytes.HasPrefix(document, []byte("/>")) && c == '>' {
			document = document[1:]
		}
		if len(document) > 0 && document[0] == c {
			document = document[1:]
		}
	}
	if len(document) == 0 {
		return nil
	}
	return document
}

// FuzzAttach: whatever the document, attaching and detaching it gives it back, byte for byte.
func FuzzAttach(f *testing.F) {
	for _, path := range definitions(f) {
		f.Add(read(f, path), true, "/var/lib/libvirt/scaphandre/vm")
	}
	f.Add([]byte("<domain type='kvm'><devices/></domain>"), false, "/a'b\"<&>\n\t]]>")
	f.Add([]byte("<domain type='kvm'>\n <metadata>\n </metadata><memoryBacking ></memoryBacking><devices></devices></domain>"), true, "")
	f.Fuzz(func(t *testing.T, document []byte, virtiofs bool, source string) {
		s := Share{Type: NineP, Source: source}
		if virtiofs {
			s.Type = Virtiofs
		}
		r, err := Attach(document, s)
		if err != nil || !r.Changed {
			return
		}
		v, err := Look(r.Document)
		if err != nil || v.Share != s.Type || virtiofs && !v.MemoryShared {
			t.Fatalf("%q: %+v, %v", r.Document, v, err)
		}
		domain, err := parse(document)
		if err != nil {
			t.Fatal(err)
		}
		if readMarker(domain).node != nil { // it goes too
			return
		}
		back, err := Detach(r.Document)
		if err != nil {
			t.Fatal(err)
		}
		if back.MemoryKept == "" && !bytes.Equal(back.Document, document) {
			t.Errorf("%q\nattached %q\ndetached %q", document, r.Document, back.Document)
		}
		if again := patched(t, document, Diff("vm", document, r.Document)); !bytes.Equal(again, r.Document) {
			t.Errorf("the diff makes %q of it", again)
		}
	})
}

// attached attaches a meter to a definition of testdata.
func attached(t *testing.T, name string, asked Type) (document []byte, r Result) {
	t.Helper()
	document = read(t, filepath.Join("testdata", name+".xml"))
	r, err := Attach(document, Share{Type: asked, Source: "/tree/vm"})
	if err != nil {
		t.Fatal(err)
	}
	return document, r
}

// What came after the meter stays when the meter goes, and keeps what it needs.
func TestDetachLeavesWhatOthersAdded(t *testing.T) {
	const controller = `<controller type='pci' index='2' model='pcie-root-port'>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x1'/>
    </controller>`
	for _, c := range []struct {
		title     string
		old, new  string // in the attached document
		wantAlso  string // in place of what stood there before
		kept      bool
		typ       Type
		undamaged bool // the rest is as it was
	}{
		{title: "the address and the alias that libvirt gives it", typ: Virtiofs, undamaged: true,
			old: "<target dir='scaphandre'/>",
			new: "<target dir='scaphandre'/>\n      <alias name='fs0'/>\n      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>"},
		{title: "the controller that libvirt adds for it", typ: NineP, undamaged: true,
			old: "<readonly/>\n    </filesystem>",
			new: "<readonly/>\n      <address type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/>\n    </filesystem>\n    " + controller},
		{title: "a controller that another device sits on", typ: NineP, wantAlso: controller,
			old: "<readonly/>\n    </filesystem>",
			new: "<readonly/>\n      <address type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/>\n    </filesystem>\n    " + controller +
				"\n    <rng><address type='pci' bus='0x02' slot='0x01'/></rng>"},
		{title: "a controller of before", typ: NineP, wantAlso: "index='1' model='pcie-root-port'", old: "<readonly/>",
			new: "<readonly/><address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>"},
		{title: "another virtiofs", typ: Virtiofs, kept: true, wantAlso: "<source dir='/srv'/>", old: "</devices>",
			new: "<filesystem type='mount'><driver type='virtiofs'/><source dir='/srv'/></filesystem></devices>"},
		{title: "vhost-user", typ: Virtiofs, kept: true, wantAlso: "vhostuser", old: "</devices>", new: "<interface type='vhostuser'/></devices>"},
		{title: "huge pages", typ: Virtiofs, wantAlso: "<memoryBacking>\n    <hugepages/>\n  </memoryBacking>",
			old: "<memoryBacking>", new: "<memoryBacking>\n    <hugepages/>"},
		{title: "another source", typ: Virtiofs, wantAlso: "<source type='file'/>\n  </memoryBacking>", old: "<source type='memfd'/>", new: "<source type='file'/>"},
		{title: "metadata", typ: NineP, wantAlso: "<metadata>\n    <a:b xmlns:a='c'/>\n  </metadata>", old: "<metadata>", new: "<metadata>\n    <a:b xmlns:a='c'/>"},
	} {
		t.Run(c.title, func(t *testing.T) {
			document, r := attached(t, "ports", c.typ)
			changed := bytes.Replace(r.Document, []byte(c.old), []byte(c.new), 1)
			if bytes.Equal(changed, r.Document) {
				t.Fatalf("nothing to change in %s", r.Document)
			}
			back, err := Detach(changed)
			if err != nil || (back.MemoryKept != "") != c.kept {
				t.Fatalf("%+v, %v", back, err)
			}
			v, err := Look(back.Document)
			if err != nil || v.Share != "" || v.MemoryShared != c.kept {
				t.Errorf("%+v, %v", v, err)
			}
			if c.undamaged && !bytes.Equal(back.Document, document) {
				t.Errorf("it differs by\n%s", Diff("", document, back.Document))
			}
			if !bytes.Contains(back.Document, []byte(c.wantAlso)) {
				t.Errorf("%q is not in\n%s", c.wantAlso, back.Document)
			}
		})
	}
}

func TestDetachWithoutRecord(t *testing.T) {
	document := read(t, "testdata/attached-elsewhere.xml")
	r, err := Detach(document)
	if err != nil || !r.Changed || !r.Foreign || r.Type != Virtiofs {
		t.Fatalf("%+v, %v", r, err)
	}
	if v, _ := Look(r.Document); v.Share != "" || !v.MemoryShared {
		t.Errorf("memory that attach did not make shared: %+v", v)
	}
	if again, err := Detach(r.Document); err != nil || again.Changed || !bytes.Equal(again.Document, r.Document) {
		t.Errorf("once more: %+v, %v", again, err)
	}
}

// TestRecordOutlivesTheShare: somebody takes the share alone; what else was added is remembered.
func TestRecordOutlivesTheShare(t *testing.T) {
	document, r := attached(t, "debian-pc", Virtiofs)
	from, to := bytes.Index(r.Document, []byte("    <filesystem")), bytes.Index(r.Document, []byte("    <interface"))
	alone := append(append([]byte{}, r.Document[:from]...), r.Document[to:]...)
	again, err := Attach(alone, Share{Type: Virtiofs, Source: "/tree/vm"})
	if err != nil || bytes.Count(again.Document, []byte("scaph:attached")) != 1 {
		t.Fatalf("%v: %s", err, again.Document)
	}
	for title, d := range map[string][]byte{"attached again": again.Document, "alone": alone} {
		if back, err := Detach(d); err != nil || !bytes.Equal(back.Document, document) {
			t.Errorf("%s: %v\n%s", title, err, Diff("", document, back.Document))
		}
	}
}

func TestWhatIsNoDefinition(t *testing.T) {
	for _, document := range []string{
		"", "text", "<domain type='kvm'>", "<domain type='kvm'></domain>", "<domain type='kvm'/>", "<network/>", "</domain>",
		"<domain type='kvm'><devices/></domain><domain/>", "<x:domain xmlns:x='y' type='kvm'><devices/></x:domain>",
		"<domain type='lxc'><devices/></domain>", "<domain type='xen'><devices/></domain>", "<domain><devices/></domain>",
		"<domain type='kvm'><devices>&unknown;</devices></domain>", "<?xml version='1.0' encoding='utf-16'?><domain type='kvm'><devices/></domain>",
	} {
		if r, err := Attach([]byte(document), Share{Type: NineP, Source: "/s"}); err == nil {
			t.Errorf("%q is taken: %s", document, r.Document)
		}
	}
}

func TestChoice(t *testing.T) {
	document := read(t, "testdata/debian-pc.xml")
	share := Share{Type: Auto, Source: "/s", NoVirtiofs: "no virtiofsd"}
	if r, err := Attach(document, share); err != nil || r.Type != NineP || r.Instead != "no virtiofsd" || r.MemoryShared {
		t.Errorf("%+v, %v", r, err)
	}
	share.Type = Virtiofs
	if _, err := Attach(document, share); err == nil || !strings.Contains(err.Error(), "no virtiofsd") {
		t.Error(err)
	}
}

func TestDevice(t *testing.T) {
	const want = "<filesystem type='mount'>\n  <driver type='virtiofs'/>\n  <binary>\n    <cache mode='none'/>\n  </binary>\n" +
		"  <source dir='/t/a&amp;b'/>\n  <target dir='scaphandre'/>\n</filesystem>\n"
	if got := (Share{Type: Virtiofs, Source: "/t/a&b"}).Device(); got != want {
		t.Errorf("got %s", got)
	}
}
