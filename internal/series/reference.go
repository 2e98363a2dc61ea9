package series

import (
	"fmt"
	"strings"
)

// Reference writes a table of metrics in Markdown.
func Reference(metrics []Metric) string {
	var b strings.Builder
	b.WriteString("| metric | type | level | labels | what | when |\n|---|---|---|---|---|---|\n")
	for i := range metrics {
		m := &metrics[i]
		labels, kind, when := "none", m.Kind.String(), "always"
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		if m.Unit != "" {
			kind += ", " + m.Unit
		}
		if m.When != "" {
			when = m.When
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", m.Name, kind, m.Level, labels, m.Help, when)
	}
	return b.String()
}
