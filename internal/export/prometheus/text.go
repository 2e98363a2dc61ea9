package prometheus

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
)

// A text is the text format of Prometheus, or OpenMetrics, which has grown out of it.
// https://prometheus.io/docs/instrumenting/exposition_formats and https://prometheus.io/docs/specs/om/open_metrics_spec
type text struct{ open bool }

const total = "_total" // at the end of a counter's name

// family returns the name of a metric's family: in OpenMetrics, that of a counter without its end.
func (t text) family(m *series.Metric) string {
	if t.open && m.Kind == series.Counter {
		return strings.TrimSuffix(m.Name, total)
	}
	return m.Name
}

// kind returns the type of a metric. A counter whose name does not end as OpenMetrics wants is no counter there.
func (t text) kind(m *series.Metric) string {
	if t.open && m.Kind == series.Counter && !strings.HasSuffix(m.Name, total) {
		return "unknown"
	}
	return m.Kind.String()
}

func (t text) begin(b []byte, m *series.Metric) []byte {
	b = append(append(append(b, "# HELP "...), t.family(m)...), ' ')
	b = append(t.help(b, m.Help), '\n')
	b = append(append(append(b, "# TYPE "...), t.family(m)...), ' ')
	return append(append(b, t.kind(m)...), '\n')
}

func (t text) help(b []byte, help string) []byte {
	for i := range len(help) {
		switch c := help[i]; {
		case c == '\\':
			b = append(b, `\\`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '"' && t.open:
			b = append(b, `\"`...)
		default:
			b = append(b, c)
		}
	}
	return b
}

func (text) end(b []byte) []byte { return b }

func (text) whole() bool { return false }

func (t text) fix(e *entry) {
	labels := textLabels(e.metric.Labels, series.Labels(e.labels))
	e.head = append(bytes.Join([][]byte{[]byte(e.metric.Name), labels}, nil), ' ')
	e.birth = nil
	if t.open && t.kind(e.metric) == "counter" && !e.created.IsZero() {
		e.birth = t.birth(nil, t.family(e.metric), labels, e.created)
	}
}

// birth appends the line with a creation time.
func (t text) birth(b []byte, family string, labels []byte, created time.Time) []byte {
	b = append(append(append(append(b, family...), "_created"...), labels...), ' ')
	return append(t.number(b, float64(created.UnixNano())/1e9), '\n')
}

func textLabels(names []string, values series.Labels) []byte {
	var b []byte
	sep := byte('{')
	for _, name := range names {
		var value []byte
		value, values = values.Next()
		b = append(append(append(b, sep), name...), `="`...)
		for _, c := range value {
			switch c {
			case '\\', '"':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, `\n`...)
			default:
				b = append(b, c)
			}
		}
		b = append(b, '"')
		sep = ','
	}
	if len(names) > 0 {
		b = append(b, '}')
	}
	return b
}

func (t text) sample(b []byte, e *entry, value float64) []byte {
	b = append(t.number(append(b, e.head...), value), '\n')
	return append(b, e.birth...)
}

// number appends a number; in OpenMetrics a floating-point number looks like one.
func (t text) number(b []byte, value float64) []byte {
	start := len(b)
	b = appendNumber(b, value)
	if !t.open {
		return b
	}
	for _, c := range b[start:] {
		if c == 'e' || c == '.' || c == 'N' || c == 'I' {
			return b
		}
	}
	return append(b, ".0"...)
}

// appendNumber appends the shortest text of a number that gives that number again, as strconv does: NaN, +Inf and -Inf as
// Prometheus has them. Nearly all numbers of ours are whole millionths, of at most 15 digits. No two numbers of so few digits
// are the same float64, so that these digits are the shortest, and they are found in a third of the time.
func appendNumber(b []byte, value float64) []byte {
	millionths := value * 1e6
	if !(millionths >= 100 && millionths < 1e15) || math.Round(millionths)/1e6 != value {
		return strconv.AppendFloat(b, value+0, 'g', -1, 64) // + 0: not -0
	}
	start := len(b)
	b = strconv.AppendUint(b, uint64(math.Round(millionths)), 10)
	exponent := len(b) - start - 1 - 6 // of ten, for the first digit: from -4 to 8
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	digits := len(b) - start
	switch {
	case exponent < 0: // 0.000ddd
		return insert(b, start, "0.00000"[:1-exponent])
	case exponent >= 6: // d.ddde+06
		if digits > 1 {
			b = insert(b, start+1, ".")
		}
		return append(append(b, "e+0"...), byte('0'+exponent))
	case digits > exponent+1: // ddd.ddd
		return insert(b, start+exponent+1, ".")
	}
	return append(b, "00000"[:exponent+1-digits]...) // ddd000
}

func insert(b []byte, at int, text string) []byte {
	b = append(b, text...)
	copy(b[at+len(text):], b[at:])
	copy(b[at:], text)
	return b
}

func (t text) histogram(b []byte, s *series.Series) []byte {
	line := func(suffix string) { b = append(append(b, s.Name...), suffix...) }
	integer := func(n uint64) { b = append(strconv.AppendUint(b, n, 10), '\n') }
	var cumulative uint64
	for i, bound := range snapshot.DurationBounds {
		cumulative += s.Histogram.Counts[i]
		line(`_bucket{le="`)
		b = append(t.number(b, bound), `"} `...)
		integer(cumulative)
	}
	line(`_bucket{le="+Inf"} `)
	integer(s.Histogram.Count)
	line("_sum ")
	b = append(t.number(b, s.Histogram.Sum), '\n')
	line("_count ")
	integer(s.Histogram.Count)
	if t.open && !s.Created.IsZero() {
		b = t.birth(b, s.Name, nil, s.Created)
	}
	return b
}
