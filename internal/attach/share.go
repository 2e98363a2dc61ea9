package attach

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Tag is the <target dir> under which a guest finds its meter; scaphandre chose it.
const Tag = "scaphandre"

// A Type is how a directory of the host comes into a guest.
type Type string

// Auto is virtiofs, and 9p where that cannot be.
const (
	Auto     Type = "auto"
	Virtiofs Type = "virtiofs"
	NineP    Type = "9p"
)

// A Share is what a definition is to have.
type Share struct {
	Type   Type
	Source string // the VM's directory in the tree
	// NoVirtiofs says why the host has no virtiofs, "" where it has.
	NoVirtiofs string
}

// element is the <filesystem>. virtiofs has no <readonly/>, which libvirt refused until 11.0: the tree is read-only.
func (s Share) element() element {
	source := element{name: "source", attrs: []string{"dir", s.Source}}
	target := element{name: "target", attrs: []string{"dir", Tag}}
	if s.Type == NineP {
		return element{name: "filesystem", attrs: []string{"type", "mount", "accessmode", "passthrough"},
			children: []element{source, target, {name: "readonly"}}}
	}
	return element{name: "filesystem", attrs: []string{"type", "mount"}, children: []element{
		{name: "driver", attrs: []string{"type", "virtiofs"}},
		{name: "binary", children: []element{{name: "cache", attrs: []string{"mode", "none"}}}}, // the only one always fresh
		source, target}}
}

// Device returns the share as a device of its own, to be plugged in.
func (s Share) Device() string { return s.element().format("\n")[1:] + "\n" }

// A Result is a document, and what was done to it.
type Result struct {
	Document []byte
	Changed  bool // false: it was so already
	Type     Type // of the share that was attached, detached or found; "" for none

	Instead      string // Attach, asked for Auto: why it is not virtiofs
	MemoryShared bool   // Attach made the memory shared
	MemoryInFile bool   // and it is a file in libvirt's memory_backing_dir then
	MemoryKept   string // Detach: why the memory that Attach made shared stays so
	Foreign      bool   // Detach: the share was not Attach's, so only the share went
}

// Attach adds the share to a definition, and what it needs. A share of the same directory is left as it is; one of
// another type or directory is an error.
func Attach(document []byte, s Share) (Result, error) {
	domain, err := parse(document)
	if err != nil {
		return Result{}, err
	}
	r := Result{Document: document, Type: s.Type}
	devices := domain.child("devices")
	if kind := domain.attr("type"); kind != "kvm" && kind != "qemu" {
		return r, fmt.Errorf("its type is %q: only VMs of qemu (kvm, qemu) can have a meter", kind)
	}
	if devices == nil {
		return r, errors.New("libvirt domain document: no <devices>")
	}
	if there := shareOf(domain); there != nil {
		return found(r, there, s)
	}
	m := readMemory(domain)
	if r.Type, r.Instead, err = choose(s, m); err != nil {
		return r, err
	}
	s.Type = r.Type
	record := readMarker(domain) // one is there where somebody has taken the share alone
	if record.node == nil || record.pci > lastPCI(devices) {
		record.pci = lastPCI(devices)
	}
	var edits []edit
	add := func(parent, behind *node, name string, elements ...element) {
		e, how := insert(document, parent, behind, elements...)
		edits = append(edits, e)
		if how != wasThere {
			record.add(name + how)
		}
	}
	if lacks := m.toShare(); s.Type == Virtiofs && lacks != nil {
		for _, e := range lacks {
			record.add(e.name)
		}
		if m.backing == nil {
			record.add("memoryBacking")
			add(domain, domain.lastOf(untilMemory...), "domain", element{name: "memoryBacking", children: lacks})
		} else {
			add(m.backing, m.backing.lastOf("hugepages", "nosharepages", "locked", "source"), "memoryBacking", lacks...)
		}
		r.MemoryShared, r.MemoryInFile = true, m.inFile()
	}
	add(devices, devices.lastOf("emulator", "disk", "controller", "lease", "filesystem"), "devices", s.element())
	edits = append(edits, record.put(document, domain))
	r.Document, r.Changed = apply(document, edits), true
	return r, nil
}

// untilMemory are the children of a domain that libvirt writes before <memoryBacking>.
var untilMemory = append(untilMetadata, "metadata", "memory", "maxMemory", "currentMemory", "blkiotune", "memtune")

// choose decides how a directory is shared.
func choose(s Share, m memory) (t Type, instead string, err error) {
	if s.Type == NineP {
		return NineP, "", nil
	}
	why, hint := s.NoVirtiofs, "install virtiofsd, or ask for 9p"
	if why == "" && m.private != "" {
		why, hint = "the definition keeps memory private, "+m.private, "make that shared, or ask for 9p"
	}
	switch {
	case why == "":
		return Virtiofs, "", nil
	case s.Type == Auto:
		return NineP, why, nil
	}
	return s.Type, "", fmt.Errorf("virtiofs is not possible: %s: %s", why, hint)
}

// shareOf returns the <filesystem> that has our tag, nil where there is none.
func shareOf(domain *node) *node {
	for _, f := range domain.child("devices").all("filesystem") {
		if f.child("target").attrOf("dir") == Tag {
			return f
		}
	}
	return nil
}

// attrOf is attr of what may be nil.
func (n *node) attrOf(name string) string {
	if n == nil {
		return ""
	}
	return n.attr(name)
}

func typeOf(share *node) Type {
	if share.child("driver").attrOf("type") == "virtiofs" {
		return Virtiofs
	}
	return NineP
}

// found judges the share that is there already.
func found(r Result, there *node, s Share) (Result, error) {
	r.Type = typeOf(there)
	if s.Type != Auto && s.Type != r.Type {
		return r, fmt.Errorf("its meter is attached by %s, not %s: detach it first", r.Type, s.Type)
	}
	if source := there.child("source").attrOf("dir"); source != s.Source {
		return r, fmt.Errorf("the share %q is of another directory, %q, not %q: detach it first", Tag, source, s.Source)
	}
	return r, nil
}

// Detach takes the share out of a definition, and with it what Attach had added.
func Detach(document []byte) (Result, error) {
	domain, err := parse(document)
	if err != nil {
		return Result{}, err
	}
	r := Result{Document: document}
	share, record := shareOf(domain), readMarker(domain)
	if share == nil && record.node == nil {
		return r, nil
	}
	var edits []edit
	if share != nil {
		r.Type, r.Foreign = typeOf(share), record.node == nil
		devices := domain.child("devices")
		gone := []*node{share}
		if c := record.controllerOf(devices, share); c != nil {
			gone = append(gone, c)
			slices.SortFunc(gone, func(a, b *node) int { return a.start - b.start })
		}
		edits = remove(document, devices, false, record.has("devices"+wasEmpty), gone...)
	}
	if record.node != nil {
		edits = append(edits, record.take(document, domain)...)
		if record.has("access") {
			if usesSharedMemory(domain, share) {
				r.MemoryKept = "another device of the VM uses shared memory"
			} else {
				edits = append(edits, record.takeMemory(document, domain)...)
			}
		}
	}
	r.Document, r.Changed = apply(document, edits), true
	return r, nil
}

// takeMemory takes back what made the memory shared, unless somebody has changed it since.
func (r marker) takeMemory(document []byte, domain *node) []edit {
	backing := domain.child("memoryBacking")
	var gone []*node
	if s := backing.child("source"); s != nil && r.has("source") && s.attr("type") == "memfd" {
		gone = append(gone, s)
	}
	if a := backing.child("access"); a != nil && a.attr("mode") == "shared" {
		gone = append(gone, a)
	}
	if len(gone) == 0 {
		return nil
	}
	slices.SortFunc(gone, func(a, b *node) int { return a.start - b.start })
	return remove(document, backing, r.has("memoryBacking"), r.has("memoryBacking"+wasEmpty), gone...)
}

// A View is what a definition, or a running VM, has now.
type View struct {
	Share        Type   // "" for none
	Source       string // its directory
	MemoryShared bool
	Private      string // what of the memory was declared private
	Device       string // the share's element, to be unplugged
}

// Look reads a domain document.
func Look(document []byte) (View, error) {
	domain, err := parse(document)
	if err != nil {
		return View{}, err
	}
	m := readMemory(domain)
	v := View{MemoryShared: m.shared, Private: m.private}
	if share := shareOf(domain); share != nil {
		v.Share, v.Source = typeOf(share), share.child("source").attrOf("dir")
		v.Device = string(document[share.start:share.end])
	}
	return v, nil
}

// lastPCI returns the highest index of a PCI controller, -1 where there is none.
func lastPCI(devices *node) int {
	last := -1
	for _, c := range devices.all("controller") {
		if index, err := strconv.Atoi(c.attr("index")); err == nil && c.attr("type") == "pci" {
			last = max(last, index)
		}
	}
	return last
}

// sameNumber compares numbers as libvirt writes them: 0x05, 5.
func sameNumber(a, b string) bool {
	x, err1 := strconv.ParseUint(strings.TrimSpace(a), 0, 32)
	y, err2 := strconv.ParseUint(strings.TrimSpace(b), 0, 32)
	return err1 == nil && err2 == nil && x == y
}
