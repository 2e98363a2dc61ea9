package prometheus

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/web"
)

// what a page is made of.
type what struct {
	Source Source
	Tree   TreeCounters
	System func() *series.System
	Build  Build
	Logger *slog.Logger
}

func options(s *snapshot.Snapshot) what {
	return what{Source: fixed{s}, Tree: counters{}, Build: Build{"1.2.3", "abc"}, Logger: slog.New(slog.DiscardHandler)}
}

// handler is that of a process's server that has the metrics.
func handler(o what) http.Handler {
	h, err := web.Handler(web.Options{
		Source: o.Source, Logger: o.Logger,
		Pages: []web.Page{{Path: "/metrics", Handler: newMetrics(o.Source, o.Tree, o.System, o.Build, o.Logger)}},
	})
	if err != nil {
		panic(err) // the path is a constant
	}
	return h
}

func get(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const openMetrics = "application/openmetrics-text;version=1.0.0"

func TestContentTypes(t *testing.T) {
	h := handler(options(host(2)))
	plain := get(h, "/metrics")
	if got := plain.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Errorf("text: %s", got)
	}
	open := get(h, "/metrics", "Accept", openMetrics)
	if got := open.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text; version=1.0.0") {
		t.Errorf("OpenMetrics: %s", got)
	}
	if !strings.HasSuffix(open.Body.String(), "\n# EOF\n") || !strings.Contains(open.Body.String(), "# TYPE scaph_vm_energy_joules counter\n") {
		t.Error("not an OpenMetrics exposition")
	}
	if w := get(handler(options(nil)), "/metrics"); w.Code != 503 || !strings.Contains(w.Body.String(), "no measurement yet") {
		t.Errorf("before the first tick: %d %s", w.Code, w.Body)
	}
}
