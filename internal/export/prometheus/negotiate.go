package prometheus

import (
	"mime"
	"strconv"
	"strings"
)

// A media is one that a scrape can be answered in.
type media struct {
	format     func() format
	name       string
	parameters map[string]string // that Accept may ask for
	content    string            // the header Content-Type, but for the escaping of names
	end        string            // of the whole answer
}

// offers never changes. The first is for clients that accept none of them, or anything.
var offers = [...]media{
	{plain, "text/plain", map[string]string{"version": "0.0.4"}, "text/plain; version=0.0.4; charset=utf-8", ""},
	// A client that names no version knows the oldest.
	{openMetricsFormat, "application/openmetrics-text", map[string]string{"version": "0.0.1"}, "application/openmetrics-text; version=0.0.1; charset=utf-8", "# EOF\n"},
	{openMetricsFormat, "application/openmetrics-text", map[string]string{"version": "1.0.0"}, "application/openmetrics-text; version=1.0.0; charset=utf-8", "# EOF\n"},
	{
		delimited, "application/vnd.google.protobuf",
		map[string]string{"proto": "io.prometheus.client.MetricFamily", "encoding": "delimited"},
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", "",
	},
}

func plain() format             { return text{} }
func openMetricsFormat() format { return text{open: true} }
func delimited() format         { return new(protobuf) }

// negotiate returns which offer the fields of Accept like best, and its Content-Type (RFC 9110, 12.5.1). Among equals the
// one that the client named first is taken.
func negotiate(accept []string) (offer int, contentType string) {
	ranges := parseAccept(accept)
	named, quality, escaping := len(ranges), 0.0, ""
	for i := range offers {
		at := mostSpecific(ranges, &offers[i])
		if at < 0 {
			continue
		}
		if r := &ranges[at]; r.quality > quality || r.quality == quality && quality > 0 && at < named {
			offer, quality, named, escaping = i, r.quality, at, r.parameters["escaping"]
		}
	}
	switch escaping {
	case "allow-utf-8", "values": // no name of ours needs them
	default:
		escaping = "underscores"
	}
	return offer, offers[offer].content + "; escaping=" + escaping
}

// A mediaRange is one element of Accept.
type mediaRange struct {
	name       string // such as text/plain, text/* or */*
	parameters map[string]string
	quality    float64
}

// parseAccept leaves out what is no media range.
func parseAccept(fields []string) []mediaRange {
	var ranges []mediaRange
	var quoted, escaped bool // inside of a quoted string, after a backslash
	split := func(r rune) bool {
		if r == '"' && !escaped {
			quoted = !quoted
		}
		escaped = quoted && r == '\\' && !escaped
		return r == ',' && !quoted
	}
	for _, text := range strings.FieldsFunc(strings.Join(fields, ","), split) {
		name, parameters, err := mime.ParseMediaType(text)
		if err != nil {
			continue
		}
		r := mediaRange{name, parameters, 1}
		if q, ok := parameters["q"]; ok {
			r.quality, err = strconv.ParseFloat(q, 64)
			if err != nil || !(r.quality >= 0) {
				r.quality = 0
			}
		}
		ranges = append(ranges, r)
	}
	return ranges
}

// mostSpecific returns which of the ranges says how much a media is liked; -1 where none does.
func mostSpecific(ranges []mediaRange, m *media) int {
	best, most := -1, -1
	for i := range ranges {
		if s := ranges[i].specificity(m); s > most {
			best, most = i, s
		}
	}
	return best
}

// specificity returns how much a range says of a media: more for one that says more, -1 for one that is about others.
func (r *mediaRange) specificity(m *media) int {
	kind, _, _ := strings.Cut(m.name, "/")
	switch r.name {
	case "*/*":
		return 0
	case kind + "/*":
		return 1
	case m.name:
	default:
		return -1
	}
	specificity := 2
	for name, want := range m.parameters {
		if got, ok := r.parameters[name]; ok {
			if !strings.EqualFold(got, want) {
				return -1
			}
			specificity++
		}
	}
	return specificity
}
