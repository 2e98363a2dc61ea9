package attach

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"slices"
	"strings"
)

// An edit replaces the bytes from start to end by text.
type edit struct {
	start, end int
	text       string
}

// apply carries out edits that do not overlap. Of several at one place, the first is the first in the result.
func apply(document []byte, edits []edit) []byte {
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	var b bytes.Buffer
	done := 0
	for _, e := range edits {
		b.Write(document[done:e.start])
		b.WriteString(e.text)
		done = e.end
	}
	b.Write(document[done:])
	return b.Bytes()
}

const (
	space = " \t\r\n" // XML's
	step  = "  "      // libvirt's indentation
)

// blankBefore returns where the white space begins that stands before a place.
func blankBefore(document []byte, at int) int { return len(bytes.TrimRight(document[:at], space)) }

// lead is what stands between an element and what is before it: a new line and the indentation, as a rule.
func lead(document []byte, n *node) string {
	return string(document[blankBefore(document, n.start):n.start])
}

// within is the lead of what is put into an element: that of its first child, or one step more than its own.
func within(document []byte, n *node) string {
	if len(n.children) > 0 {
		return lead(document, n.children[0])
	}
	if own := lead(document, n); own != "" {
		return own + step
	}
	return ""
}

// How an element came to be where something was put into it: words of the record that Attach leaves.
const (
	wasThere = ""
	wasEmpty = "/" // as <x/>
)

// insert puts elements into a parent: directly behind one of its children, or first where that is nil, each with the white
// space that its neighbours have before them. It returns how it found the parent.
func insert(document []byte, parent, behind *node, elements ...element) (edit, string) {
	before := within(document, parent)
	var b strings.Builder
	for _, e := range elements {
		b.WriteString(e.format(before))
	}
	if parent.selfClosed() {
		text := ">" + b.String() + lead(document, parent) + "</" + parent.tag + ">"
		return edit{parent.open - len("/>"), parent.end, text}, wasEmpty
	}
	at := parent.open
	if behind != nil {
		at = behind.end
	}
	return edit{at, at, b.String()}, wasThere
}

// remove takes children out of their parent, with the white space before each; they stand in the document's order. Where
// nothing else is in the parent any more, it goes too if Attach added it, and is <x/> again if Attach found it so.
func remove(document []byte, parent *node, added, empty bool, children ...*node) []edit {
	var edits []edit
	rest := string(document[parent.open:parent.close])
	for _, c := range slices.Backward(children) {
		from := blankBefore(document, c.start)
		edits = append(edits, edit{start: from, end: c.end})
		rest = rest[:from-parent.open] + rest[c.end-parent.open:]
	}
	switch {
	case strings.Trim(rest, space) != "":
		return edits
	case added:
		return []edit{{start: blankBefore(document, parent.start), end: parent.end}}
	case empty:
		return []edit{{start: parent.open - len(">"), end: parent.end, text: "/>"}}
	}
	return edits
}

// An element is one that is added.
type element struct {
	name     string
	attrs    []string // name, value, …
	children []element
}

// format writes the element behind the white space that is to stand before it.
func (e element) format(lead string) string {
	var b strings.Builder
	b.WriteString(lead + "<" + e.name)
	for i := 0; i+1 < len(e.attrs); i += 2 {
		b.WriteString(" " + e.attrs[i] + "='" + escape(e.attrs[i+1]) + "'")
	}
	if len(e.children) == 0 {
		b.WriteString("/>")
		return b.String()
	}
	b.WriteString(">")
	for _, c := range e.children {
		if lead == "" {
			b.WriteString(c.format(""))
		} else {
			b.WriteString(c.format(lead + step))
		}
	}
	b.WriteString(lead + "</" + e.name + ">")
	return b.String()
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // fails only where its writer does
	return b.String()
}
