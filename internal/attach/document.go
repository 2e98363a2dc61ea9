package attach

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A node is an element, as positions in the bytes of its document.
type node struct {
	name     xml.Name // the namespace resolved
	tag      string   // the name as it is written, with its prefix
	attrs    []xml.Attr
	children []*node

	start, open int // the start tag: of its '<', and behind its '>'
	close, end  int // the end tag, likewise; both are open in <x/>
}

// selfClosed reports whether the element is written <x/>.
func (n *node) selfClosed() bool { return n.end == n.open }

// attr returns an attribute of no namespace, "" where it is absent.
func (n *node) attr(name string) string {
	for _, a := range n.attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// all returns the children of a name, in no namespace.
func (n *node) all(name string) (found []*node) {
	if n == nil {
		return nil
	}
	for _, c := range n.children {
		if c.name == (xml.Name{Local: name}) {
			found = append(found, c)
		}
	}
	return found
}

// child returns the first child of a name, in no namespace; nil where there is none. As with libvirt, it is the one that
// counts.
func (n *node) child(name string) *node {
	if found := n.all(name); len(found) > 0 {
		return found[0]
	}
	return nil
}

// lastOf returns the last child that has one of the names, nil where there is none.
func (n *node) lastOf(names ...string) (last *node) {
	for _, name := range names {
		for _, c := range n.all(name) {
			if last == nil || c.start > last.start {
				last = c
			}
		}
	}
	return last
}

// parse reads the elements of a <domain> document, as libvirt's API gives it.
func parse(document []byte) (*node, error) {
	root, err := parseElement(document)
	if err != nil {
		return nil, fmt.Errorf("libvirt domain document: %w", err)
	}
	if root.name != (xml.Name{Local: "domain"}) {
		return nil, fmt.Errorf("libvirt domain document: its element is <%s>, not <domain>", root.tag)
	}
	return root, nil
}

func parseElement(document []byte) (*node, error) {
	var root *node
	var within []*node // the elements that are open
	d := xml.NewDecoder(bytes.NewReader(document))
	for {
		start := int(d.InputOffset())
		token, err := d.Token()
		if errors.Is(err, io.EOF) && root != nil {
			return root, nil
		}
		if err != nil {
			return nil, err
		}
		at := int(d.InputOffset())
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: token.Name, attrs: token.Attr, start: start, open: at, close: at, end: at}
			n.tag = tagOf(document[start:at])
			switch {
			case len(within) > 0:
				parent := within[len(within)-1]
				parent.children = append(parent.children, n)
			case root != nil:
				return nil, fmt.Errorf("a second element, <%s>, stands behind <%s>", n.tag, root.tag)
			default:
				root = n
			}
			within = append(within, n)
		case xml.EndElement:
			n := within[len(within)-1] // the decoder sees to it that tags match
			n.close, n.end = start, at
			within = within[:len(within)-1]
		}
	}
}

// tagOf returns the name in a start tag as it is written.
func tagOf(startTag []byte) string {
	name := strings.TrimLeft(string(startTag), "<")
	if i := strings.IndexAny(name, " \t\r\n/>"); i >= 0 {
		name = name[:i]
	}
	return name
}
