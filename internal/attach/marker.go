package attach

import (
	"encoding/xml"
	"math"
	"slices"
	"strconv"
	"strings"
)

// markerName is the element that remembers what Attach added.
var markerName = xml.Name{Space: "urn:scaph:attach:1", Local: "attached"}

// A marker is that memory.
type marker struct {
	node  *node    // nil where the document has none
	words []string // names of elements that Attach added; those that it found empty end in "/"
	pci   int      // the highest index of a PCI controller before; libvirt may add one, to put the share on
}

func (r *marker) add(word string) {
	if !r.has(word) {
		r.words = append(r.words, word)
	}
}

func (r marker) has(word string) bool { return slices.Contains(r.words, word) }

// readMarker reads it, and understands nothing where somebody else has written into it: then only the share is known.
func readMarker(domain *node) marker {
	metadata := domain.child("metadata")
	if metadata == nil {
		return marker{}
	}
	for _, c := range metadata.children {
		if c.name == markerName {
			r := marker{node: c, words: strings.Fields(c.attr("added"))}
			var err error
			if r.pci, err = strconv.Atoi(c.attr("pci")); err != nil {
				r.pci = math.MaxInt // no controller is ours
			}
			return r
		}
	}
	return marker{}
}

// untilMetadata are the children of a domain that libvirt writes before <metadata>.
var untilMetadata = []string{"name", "uuid", "genid", "hwuuid", "title", "description"}

// put writes the marker into a document: the last of what Attach does.
func (r marker) put(document []byte, domain *node) edit {
	metadata := domain.child("metadata")
	switch {
	case metadata == nil:
		r.add("metadata")
	case metadata.selfClosed():
		r.add("metadata" + wasEmpty)
	}
	e := element{name: "scaph:" + markerName.Local, attrs: []string{"xmlns:scaph", markerName.Space,
		"added", strings.Join(r.words, " "), "pci", strconv.Itoa(r.pci)}}
	var put edit
	switch {
	case metadata == nil:
		put, _ = insert(document, domain, domain.lastOf(untilMetadata...), element{name: "metadata", children: []element{e}})
	case r.node != nil:
		put = edit{r.node.start, r.node.end, e.format("")}
	default:
		put, _ = insert(document, metadata, lastChild(metadata), e)
	}
	return put
}

func lastChild(n *node) *node {
	if len(n.children) == 0 {
		return nil
	}
	return n.children[len(n.children)-1]
}

// take takes the marker out.
func (r marker) take(document []byte, domain *node) []edit {
	return remove(document, domain.child("metadata"), r.has("metadata"), r.has("metadata"+wasEmpty), r.node)
}

// controllerOf returns the PCI controller that libvirt added for the share, where no free slot was left: the one that the
// share sits on, if it was not there before and nothing else sits on it. Nil where there is none.
func (r marker) controllerOf(devices, share *node) *node {
	if r.node == nil {
		return nil
	}
	bus := share.child("address").attrOf("bus")
	if share.child("address").attrOf("type") != "pci" {
		return nil
	}
	var its *node
	for _, d := range devices.children {
		if index := d.attr("index"); d.name.Local == "controller" && d.attr("type") == "pci" && sameNumber(index, bus) {
			if n, err := strconv.Atoi(index); err == nil && n > r.pci {
				its = d
			}
		} else if a := d.child("address"); d != share && a.attrOf("type") == "pci" && sameNumber(a.attrOf("bus"), bus) {
			return nil
		}
	}
	return its
}
