package metrics

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

const exposition = `# TYPE a_joules_total counter
a_joules_total{zone="package",vm="x\"y\\z\n"} 5.000001
a_joules_total{zone="core",vm=""} 4
a_joules_total{zone="dram",vm=""} 2
# TYPE b gauge
b 0.5
# TYPE c_seconds histogram
c_seconds_bucket{le="1"} 2
c_seconds_bucket{le="+Inf"} 3
c_seconds_sum 1.5
c_seconds_count 3
d 7
`

func TestParse(t *testing.T) {
	s, err := Parse(exposition)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Basis("a_joules_total"); got != 7000001 {
		t.Errorf("package and dram: %d µJ", got)
	}
	if got := s.Sum("a_joules_total"); got != 11000001 {
		t.Errorf("all zones: %d µJ", got)
	}
	for name, want := range map[string]float64{"b": 0.5, "c_seconds_sum": 1.5, "c_seconds_count": 3, "d": 7, "none": 0} {
		if got := s.Total(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if found := s.Find("a_joules_total", "vm", "x\"y\\z\n", "zone", "package"); len(found) != 1 {
		t.Errorf("by labels with escapes: %+v", found)
	}
	keys := map[string]bool{}
	for _, one := range s.Samples {
		keys[one.Key] = true
	}
	if len(keys) != len(s.Samples) || len(keys) != 9 {
		t.Errorf("%d keys of %d series", len(keys), len(s.Samples))
	}
}

func TestParseRefuses(t *testing.T) {
	for what, text := range map[string]string{
		"a label without its end": `a{b="c} 1` + "\n",
		"no value":                "a\n",
		"a value that is none":    "a x\n",
		"a series twice":          "a{b=\"c\"} 1\na{b=\"c\"} 1\n",
		"labels without an end":   `a{b="c" 1` + "\n",
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

func TestFetch(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, exposition)
	}))
	defer server.Close()
	before := time.Now()
	s, err := Fetch(t.Context(), server.Client(), server.URL)
	if err != nil || s.Text != exposition || len(s.Samples) != 9 || s.Begun.Before(before) || s.Ended.Before(s.Begun) {
		t.Errorf("%+v, %v", s, err)
	}
	status = http.StatusServiceUnavailable
	if _, err := Fetch(t.Context(), server.Client(), server.URL); !errors.Is(err, ErrNotYet) {
		t.Errorf("503: %v", err)
	}
	status = http.StatusInternalServerError
	if _, err := Fetch(t.Context(), server.Client(), server.URL); err == nil || errors.Is(err, ErrNotYet) {
		t.Errorf("500: %v", err)
	}
}
