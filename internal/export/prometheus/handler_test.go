package prometheus

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/web"
)

// pages are those of a process's server that has the metrics.
func pages(t testing.TB, source Source) http.Handler {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	h, err := web.Handler(web.Options{
		Source: source, Logger: log,
		Pages: []web.Page{{Path: "/metrics", Handler: handler(source, counters{}, Build{"1.2.3", "abc"}, log)}},
	})
	if err != nil {
		t.Fatal(err)
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
	h := pages(t, fixed{host(2)})
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
	if w := get(pages(t, fixed{}), "/metrics"); w.Code != 503 || !strings.Contains(w.Body.String(), "no measurement yet") {
		t.Errorf("before the first tick: %d %s", w.Code, w.Body)
	}
}

// fresh is a Source that has a new Snapshot at every look, so that nothing is served from memory.
type fresh struct{ *snapshot.Snapshot }

func (f fresh) Latest() *snapshot.Snapshot {
	snapshot := *f.Snapshot
	return &snapshot
}

// The budget is 5 ms of server time for 500 VMs.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{50, 500} {
		for _, encoding := range []string{"identity", "gzip"} {
			b.Run(fmt.Sprintf("vms=%d/%s", n, encoding), func(b *testing.B) {
				h := pages(b, fresh{host(n)})
				b.ReportAllocs()
				for b.Loop() {
					get(h, "/metrics", "Accept-Encoding", encoding, "Accept", openMetrics)
				}
			})
		}
	}
}
