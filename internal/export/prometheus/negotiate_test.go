package prometheus

import (
	"strings"
	"testing"
)

func TestNegotiate(t *testing.T) {
	const (
		text  = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
		open0 = "application/openmetrics-text; version=0.0.1; charset=utf-8; escaping=underscores"
		open1 = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
		proto = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores"

		askProto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
	)
	utf8 := func(content string) string { return strings.Replace(content, "underscores", "allow-utf-8", 1) }
	for _, test := range []struct{ accept, want string }{
		{"", text},
		{"*/*", text},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", text}, // a browser
		{"text/*", text},
		{"application/*", open0},
		{"application/json", text},
		{"application/openmetrics-text", open0},
		{"application/openmetrics-text;version=1.0.0", open1},
		{"Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8", open1},
		{"application/openmetrics-text;version=2.0.0", text},
		{"application/openmetrics-text;version=2.0.0,application/openmetrics-text;version=1.0.0;q=0.2", open1},
		{askProto, proto},
		{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", text},
		{"application/vnd.google.protobuf;proto=other;encoding=delimited,text/plain;q=0.1", text},
		// The weight decides, then the order.
		{"text/plain;q=0.3,application/openmetrics-text;version=1.0.0;q=0.5", open1},
		{"text/plain;q=0.5,application/openmetrics-text;version=1.0.0;q=0.3", text},
		{"application/openmetrics-text;version=1.0.0,text/plain", open1},
		{"text/plain,application/openmetrics-text;version=1.0.0", text},
		{"text/plain;q=.1, application/openmetrics-text;version=1.0.0;q=0.9,application/openmetrics-text;version=0.0.1;q=0.95", open0},
		// 0 is "not acceptable", of what a range names more closely than another too.
		{"application/openmetrics-text;q=0", text},
		{"application/openmetrics-text;q=0, */*", text},
		{"text/plain;q=0, */*", open0},
		{"application/*;q=0.5,application/openmetrics-text;q=0", proto},
		{"application/openmetrics-text;version=1.0.0;q=0,application/openmetrics-text;version=0.0.1;q=0", text},
		// What is malformed is left out.
		{"application/openmetrics-text;version=1.0.0;q=high,text/plain;q=0.1", text},
		{";;;,,/,text/plain;=,application/openmetrics-text;version=1.0.0", open1},
		{"application/openmetrics-text;version=1.0.0;q=NaN", text},
		{`application/json;x="a,b\",c", application/openmetrics-text;version=1.0.0`, open1},
		// Escaping: no name needs any, so all schemes that leave such names alone are as asked for.
		{"text/plain;version=0.0.4;escaping=allow-utf-8", utf8(text)},
		{"application/openmetrics-text;version=1.0.0;escaping=values", strings.Replace(open1, "underscores", "values", 1)},
		{"application/openmetrics-text;version=1.0.0;escaping=dots", open1},
		{"application/openmetrics-text;version=1.0.0;escaping=nonsense", open1},
		{"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;escaping=allow-utf-8;q=0.3", open1}, // that of another
		// Prometheus 2.42, 3, and 3 with creation times.
		{"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", open1},
		{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5," +
			"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", utf8(open1)},
		{askProto + ";q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4," +
			"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", proto},
	} {
		// Fields of Accept are one list, however many there are.
		for _, fields := range [][]string{{test.accept}, strings.Split(test.accept, ",")} {
			if len(fields) > 1 && strings.Contains(test.accept, `"`) {
				continue // a comma in quotes is none of the list
			}
			offer, got := negotiate(fields)
			if got != test.want || !strings.HasPrefix(got, offers[offer].content) {
				t.Errorf("%q: got %s, want %s", fields, got, test.want)
			}
		}
	}
}
