package prometheus

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/snapshot"
)

func options(s *snapshot.Snapshot) Options {
	return Options{
		Program: "scaph-host", Build: Build{"1.2.3", "abc"}, Source: fixed{s}, Tree: counters{},
		Listen: "127.0.0.1:0", Path: "/metrics", Logger: slog.New(slog.DiscardHandler),
	}
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
	zipped := get(h, "/metrics", "Accept-Encoding", "gzip")
	r, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(r); err != nil || !bytes.Contains(body, []byte("scaph_host_power_watts")) {
		t.Errorf("gzip: %v", err)
	}
}

func TestTakesGzip(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "identity": false, "br, GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.000, br": false,
		"x-gzip": false, "gzip;q=0.01": true, "gzip;q=1.0": true,
	} {
		if takesGzip([]string{accept}) != want {
			t.Errorf("%q: not %v", accept, want)
		}
	}
}

// An error is sent as it is: net/http takes the header Content-Encoding off errors.
func TestErrorIsNotCompressed(t *testing.T) {
	h := &compressor{next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "too many", http.StatusServiceUnavailable)
	})}
	if w := get(h, "/", "Accept-Encoding", "gzip"); w.Code != 503 || w.Body.String() != "too many\n" || w.Header().Get("Content-Encoding") != "" {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}
}

func TestPages(t *testing.T) {
	s := host(1)
	now := s.Time.Add(time.Second)
	o := options(s)
	o.Now = func() time.Time { return now }
	h := handler(o)
	check := func(h http.Handler, path string, status int, part string) {
		t.Helper()
		if w := get(h, path); w.Code != status || !strings.Contains(w.Body.String(), part) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	check(h, "/healthz", 200, "alive")
	check(h, "/readyz", 200, "ready")
	check(h, "/", 200, "1.2.3")
	check(h, "/nothing", 404, "")
	if strings.Contains(get(h, "/").Body.String(), "Simulated") {
		t.Error("hardware is called simulated")
	}
	now = s.Time.Add(2 * time.Second)
	check(h, "/readyz", 503, "the last measurement is 2s old, one is due every 1s")
	check(h, "/healthz", 200, "alive")
	s.Simulated = true
	check(h, "/", 200, "Simulated")

	check(handler(options(nil)), "/readyz", 503, "no measurement yet")
	check(handler(options(nil)), "/metrics", 503, "no measurement yet")
	check(handler(options(nil)), "/", 200, "no measurement yet")
	r := httptest.NewRequest(http.MethodPost, "/metrics", nil)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestServerOverTCP(t *testing.T) {
	server, err := Listen(options(host(1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	o := options(nil)
	o.Listen = server.Addr().String()
	if _, err := Listen(o, nil); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("second server at one address: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	var scrapes sync.WaitGroup
	for range 4 {
		scrapes.Go(func() {
			response, err := http.Get("http://" + server.Addr().String() + "/metrics")
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); err != nil || !bytes.Contains(body, []byte("scaph_vm_power_watts")) {
				t.Errorf("%v: %d bytes", err, len(body))
			}
		})
	}
	scrapes.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stop: %v", err)
	}
	if response, err := http.Get("http://" + server.Addr().String() + "/metrics"); err == nil {
		response.Body.Close()
		t.Error("still serving after the stop")
	}
}

func TestStopBeforeStart(t *testing.T) {
	server, err := Listen(options(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestWebConfig(t *testing.T) {
	o := options(host(1))
	o.WebConfig = filepath.Join(t.TempDir(), "web.yaml")
	if _, err := Listen(o, nil); err == nil {
		t.Error("a missing file is accepted")
	}
	write := func(text string) {
		if err := os.WriteFile(o.WebConfig, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("nonsense: true\n")
	if _, err := Listen(o, nil); err == nil || !strings.Contains(err.Error(), o.WebConfig) {
		t.Errorf("nonsense: %v", err)
	}
	// The bcrypt hash of "secret", at the lowest cost.
	write("basic_auth_users:\n  admin: $2a$04$7ugyIVV6WKzTKl.vvLVVJuMSSnlgWCnVBKtqnZcKGpwn6wdeZpgZm\n")
	server, err := Listen(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	response, err := http.Get("http://" + server.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a password: %s", response.Status)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
