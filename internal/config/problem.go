package config

import (
	"fmt"
	"strings"
)

// A Problem is one thing that is wrong with a configuration.
type Problem struct {
	Where   string // "/etc/scaph/host.yaml:12", "SCAPH_TREE_PATH", "--listen"; "" for a default
	Key     string // as it stands there, or the key that the value belongs to
	Value   string // "" where the key itself is the problem
	Allowed string // what may stand there, or which key was probably meant
	Why     string // what exactly is wrong with the value, "" where Allowed says it
}

// String writes the problem in one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Where != "" {
		b.WriteString(p.Where + ": ")
	}
	b.WriteString(p.Key)
	if p.Value != "" {
		fmt.Fprintf(&b, ": %s is not allowed", p.Value)
		if p.Why != "" {
			fmt.Fprintf(&b, " (%s)", p.Why)
		}
		fmt.Fprintf(&b, "; allowed: %s", p.Allowed)
		return b.String()
	}
	fmt.Fprintf(&b, ": %s", p.Why)
	if p.Allowed != "" {
		fmt.Fprintf(&b, "; %s", p.Allowed)
	}
	return b.String()
}

// An Error lists everything that is wrong with a configuration.
type Error struct{ Problems []Problem }

// Error writes one line per problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	if len(lines) == 1 {
		return "configuration: " + lines[0]
	}
	return fmt.Sprintf("configuration: %d problems:\n  %s", len(lines), strings.Join(lines, "\n  "))
}
