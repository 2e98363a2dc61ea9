package terminal

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/scaph/scaph/internal/energy"
)

// A table is written with its columns aligned; text to the left, numbers to the right.
type table struct {
	right []bool // by column
	rows  [][]string
}

// newTable makes a table; a heading that begins with > is that of a column of numbers.
func newTable(headings ...string) *table {
	t := &table{}
	row := make([]string, len(headings))
	for i, h := range headings {
		text, right := strings.CutPrefix(h, ">")
		row[i] = text
		t.right = append(t.right, right)
	}
	t.rows = append(t.rows, row)
	return t
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w *bytes.Buffer) {
	widths := make([]int, len(t.right))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				line.WriteString("  ")
			}
			if t.right[i] {
				line.WriteString(padding + cell)
			} else {
				line.WriteString(cell + padding)
			}
		}
		w.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// flush hands what was written to w at once, so that a table is never torn.
func flush(w io.Writer, b *bytes.Buffer) error {
	_, err := w.Write(b.Bytes())
	return err
}

// watts writes a power with two digits and its unit.
func watts(p energy.Watts) string { return fmt.Sprintf("%.2f W", float64(p)) }

// amount writes an energy in J, from 1 MJ on in kWh.
func amount(e energy.Microjoules) string {
	if e < 1e6*energy.Joule {
		return fmt.Sprintf("%.3f J", e.Joules())
	}
	return fmt.Sprintf("%.4f kWh", e.KilowattHours())
}
