package attach

import (
	"bytes"
	"fmt"
	"strings"
)

// context is how many lines a diff shows around what has changed.
const context = 3

// Diff writes what makes the second document of the first, as diff -u does. It is "" where they are equal.
func Diff(name string, before, after []byte) string {
	old, now := lines(before), lines(after)
	changes := compare(old, now)
	var b strings.Builder
	for i := 0; i < len(changes); {
		last := i // of those that share a hunk: at most twice the context lies between them
		for last+1 < len(changes) && changes[last+1].old-changes[last].oldEnd <= 2*context {
			last++
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, "--- %s\n+++ %s\n", name, name)
		}
		writeHunk(&b, old, now, changes[i:last+1])
		i = last + 1
	}
	return b.String()
}

// lines cuts a document behind each new line.
func lines(document []byte) [][]byte {
	all := bytes.SplitAfter(document, []byte("\n"))
	if len(all[len(all)-1]) == 0 {
		all = all[:len(all)-1]
	}
	return all
}

// A change puts lines of the new document in the place of lines of the old one.
type change struct{ old, oldEnd, new, newEnd int }

func writeHunk(b *strings.Builder, old, now [][]byte, changes []change) {
	first, last := changes[0], changes[len(changes)-1]
	before, after := min(context, first.old), min(context, len(old)-last.oldEnd)
	from, newFrom := first.old-before, first.new-before
	to, newTo := last.oldEnd+after, last.newEnd+after
	fmt.Fprintf(b, "@@ -%s +%s @@\n", extent(from, to), extent(newFrom, newTo))
	write := func(sign byte, lines [][]byte) {
		for _, line := range lines {
			b.WriteByte(sign)
			b.Write(line)
			if !bytes.HasSuffix(line, []byte("\n")) {
				b.WriteString("\n\\ No newline at end of file\n")
			}
		}
	}
	for _, c := range changes {
		write(' ', old[from:c.old])
		write('-', old[c.old:c.oldEnd])
		write('+', now[c.new:c.newEnd])
		from = c.oldEnd
	}
	write(' ', old[from:to])
}

// extent is how a hunk says which lines it is about: the first, from 1 on, and how many. None are told by the line before.
func extent(from, to int) string {
	if from == to {
		return fmt.Sprintf("%d,0", from)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

// compare finds the fewest lines to delete and insert, in time proportional to the lines times those
// (Myers, An O(ND) Difference Algorithm and Its Variations, 1986).
func compare(old, now [][]byte) []change {
	n, m := len(old), len(now)
	reach := map[int]int{1: 0} // on diagonal k = x - y, the largest x that d steps lead to
	var trace []map[int]int    // reach before each d
search:
	for d := 0; ; d++ {
		before := make(map[int]int, len(reach))
		for k, x := range reach {
			before[k] = x
		}
		trace = append(trace, before)
		for k := -d; k <= d; k += 2 {
			x := stepTo(reach, k, d)
			for y := x - k; x < n && y < m && bytes.Equal(old[x], now[y]); y++ {
				x++
			}
			reach[k] = x
			if x >= n && x-k >= m {
				break search
			}
		}
	}
	return backtrack(trace, n, m)
}

// stepTo is where the d-th step leads on diagonal k: down from above, or right from the left, whichever is further.
func stepTo(reach map[int]int, k, d int) int {
	if k == -d || (k != d && reach[k-1] < reach[k+1]) {
		return reach[k+1]
	}
	return reach[k-1] + 1
}

// backtrack walks the way back from the end, and joins steps that follow each other.
func backtrack(trace []map[int]int, x, y int) []change {
	var changes []change // last first
	for d := len(trace) - 1; d > 0; d-- {
		k := x - y
		start := stepTo(trace[d], k, d) // on this diagonal, before the equal lines
		c := change{old: start - 1, oldEnd: start, new: start - k, newEnd: start - k}
		if k == -d || (k != d && trace[d][k-1] < trace[d][k+1]) {
			c = change{old: start, oldEnd: start, new: start - k - 1, newEnd: start - k}
		}
		if last := len(changes) - 1; last >= 0 && changes[last].old == c.oldEnd && changes[last].new == c.newEnd {
			changes[last].old, changes[last].new = c.old, c.new
		} else {
			changes = append(changes, c)
		}
		x, y = c.old, c.new
	}
	for i, j := 0, len(changes)-1; i < j; i, j = i+1, j-1 {
		changes[i], changes[j] = changes[j], changes[i]
	}
	return changes
}
