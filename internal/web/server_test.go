package web

import (
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/web/profiles"
)

// fixed is a Source that always has the same Snapshot.
type fixed struct{ *snapshot.Snapshot }

func (f fixed) Latest() *snapshot.Snapshot { return f.Snapshot }

func measured() *snapshot.Snapshot {
	return &snapshot.Snapshot{Seq: 7, Time: time.Unix(1_700_000_000, 0), Interval: time.Second}
}

const body = "# what a part says\n"

// options are those of a server with one page that a part has registered. The page asks for the Snapshot.
func options(s *snapshot.Snapshot) Options {
	return withSource(fixed{s})
}

func withSource(source Source) Options {
	return Options{
		Config:  Config{Listen: []string{"127.0.0.1:0"}},
		Program: "scaph-host", Version: "1.2.3", Revision: "abc", Source: source, Logger: slog.New(slog.DiscardHandler),
		Pages: []Page{{Path: "/metrics", Summary: "a <part>", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			source.Latest()
			_, _ = io.WriteString(w, body)
		})}},
	}
}

func pages(t testing.TB, o Options) http.Handler {
	t.Helper()
	h, err := Handler(o)
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

func TestPagesAreCompressed(t *testing.T) {
	zipped := get(pages(t, options(measured())), "/metrics", "Accept-Encoding", "gzip")
	r, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != body {
		t.Errorf("%q, %v", got, err)
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
	s := measured()
	now := s.Time.Add(time.Second)
	o := options(s)
	o.Now = func() time.Time { return now }
	h := pages(t, o)
	check := func(h http.Handler, path string, status int, part string) {
		t.Helper()
		if w := get(h, path); w.Code != status || !strings.Contains(w.Body.String(), part) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	check(h, "/healthz", 200, "alive")
	check(h, "/readyz", 200, "ready")
	check(h, "/", 200, "1.2.3")
	check(h, "/", 200, `<a href="/metrics">/metrics</a>: a &lt;part&gt;`)
	check(h, "/nothing", 404, "")
	if strings.Contains(get(h, "/").Body.String(), "Simulated") {
		t.Error("hardware is called simulated")
	}
	now = s.Time.Add(2 * time.Second)
	check(h, "/readyz", 503, "the last measurement is 2s old, one is due every 1s")
	check(h, "/healthz", 200, "alive")
	s.Simulated = true
	check(h, "/", 200, "Simulated")

	none := options(nil)
	none.Pages = nil
	check(pages(t, none), "/readyz", 503, "no measurement yet")
	check(pages(t, none), "/healthz", 200, "alive")
	check(pages(t, none), "/metrics", 404, "")
	check(pages(t, none), "/", 200, "no measurement yet")
	r := httptest.NewRequest(http.MethodPost, "/metrics", nil)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

// Profiles tell much of a process, and take its time: they are there only where they were asked for.
func TestPprof(t *testing.T) {
	o := options(measured())
	o.Profiles = profiles.Handler()
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/profile?seconds=1"} {
		if w := get(pages(t, o), path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d, though it was not asked for", path, w.Code)
		}
	}
	if strings.Contains(get(pages(t, o), "/").Body.String(), "pprof") {
		t.Error("the index lists profiles that are not there")
	}
	o.Pprof = true
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
		if w := get(pages(t, o), path); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if !strings.Contains(get(pages(t, o), "/").Body.String(), `href="/debug/pprof/"`) {
		t.Error("the index does not list the profiles")
	}
}

// Parts that want one path, or one of the server's own, are refused when the server is made, and not by a panic.
func TestPathsOfParts(t *testing.T) {
	for _, paths := range [][]string{
		{"/metrics", "/metrics"}, {"/healthz"}, {"/readyz"}, {"/"}, {""}, {"metrics"}, {"/a/"}, {"/{x}"}, {"/a b"}, {"/a?b"},
		{"/debug/pprof"}, {"/debug/pprof/heap"}, {"/a//b"}, {"/../healthz"}, {"/ü"},
	} {
		o := options(nil)
		o.Pages, o.Pprof = nil, true
		for _, p := range paths {
			o.Pages = append(o.Pages, Page{Path: p, Handler: http.NotFoundHandler()})
		}
		if _, err := Handler(o); err == nil {
			t.Errorf("%q are accepted", paths)
		}
	}
}

// A page has a bounded number of requests at a time; the others are told so at once, and the other pages go on.
func TestRequestsAreBounded(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	o := options(measured())
	o.Pages = append(o.Pages, Page{Path: "/slow", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-leave
	})})
	h := pages(t, o)
	var all sync.WaitGroup
	for range maxInFlight {
		all.Go(func() { get(h, "/slow") })
		<-entered
	}
	if w := get(h, "/slow"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "try again later") {
		t.Errorf("one too many: %d %s", w.Code, w.Body)
	}
	if w := get(h, "/metrics"); w.Code != http.StatusOK {
		t.Errorf("another page: %d", w.Code)
	}
	close(leave)
	all.Wait()
}

// One server has several addresses, and they all end with it; they are bound all or none.
func TestSeveralAddresses(t *testing.T) {
	o := options(measured())
	o.Listen = []string{"127.0.0.1:0", "[::1]:0", "127.0.0.2:0"}
	s, end := begin(t, o, nil)
	for _, address := range s.Addrs() {
		if err := scrapeAt(address.String(), "/healthz"); err != nil {
			t.Error(err)
		}
	}
	second := o
	second.Listen = []string{"127.0.0.3:0", s.Addrs()[2].String()}
	if _, err := Listen(second, nil); err == nil || !strings.Contains(err.Error(), "web.listen "+second.Listen[1]) {
		t.Errorf("an address that is taken: %v", err)
	}
	// A successor with some of them, and another one.
	third := o
	third.Listen = []string{"[::1]:0", "127.0.0.4:0"}
	next, endNext := begin(t, third, s)
	if next.Addrs()[0].String() != s.Addrs()[1].String() {
		t.Errorf("%s has moved to %s", s.Addrs()[1], next.Addrs()[0])
	}
	end()
	for _, address := range next.Addrs() {
		if err := scrapeAt(address.String(), "/healthz"); err != nil {
			t.Error(err)
		}
	}
	if err := scrapeAt(s.Addrs()[0].String(), "/healthz"); err == nil {
		t.Errorf("%s is still served", s.Addrs()[0])
	}
	endNext()
}

// Addresses that overlap with each other are refused by a successor too: they would be at the next start.
func TestOverlapWithinAList(t *testing.T) {
	o := options(measured())
	former, end := begin(t, o, nil)
	defer end()
	_, port, err := net.SplitHostPort(former.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	// The former's own name for it is 127.0.0.1:0.
	for _, list := range [][]string{{"127.0.0.1:0", "0.0.0.0:" + port}, {"0.0.0.0:" + port, "127.0.0.1:" + port}, {"0.0.0.0:" + port, "127.0.0.1:0", "127.0.0.1:" + port}} {
		o.Listen = list
		if s, err := Listen(o, former); err == nil {
			t.Errorf("%q are accepted", list)
			s.Close()
		}
	}
	if err := scrapeAt(former.Addrs()[0].String(), "/healthz"); err != nil {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	for _, good := range []Config{
		*Default(), {}, {Listen: []string{":8080", "[::1]:1"}, Config: "/x"}, {Listen: []string{"localhost:0"}},
		{Listen: []string{"0.0.0.0:1", "[::1]:1"}}, {Listen: []string{"127.0.0.1:1", "127.0.0.2:1", "127.0.0.1:2"}}, {Listen: []string{":0", "127.0.0.1:0"}},
	} {
		good.Check(func(key string) { t.Errorf("%+v: %s", good, key) })
	}
	for _, bad := range []Config{
		{Listen: []string{"8080"}}, {Listen: []string{":http"}}, {Listen: []string{":1", ":1"}}, {Listen: []string{":1", "127.0.0.1:1"}}, {Listen: []string{"0.0.0.0:1", ":2", "10.0.0.1:1"}}, {Listen: []string{"::1:80"}}, {Listen: []string{":65536"}}, {Config: "x"},
	} {
		n := 0
		bad.Check(func(string) { n++ })
		if n != 1 {
			t.Errorf("%+v: %d problems", bad, n)
		}
	}
}

func TestServerOverTCP(t *testing.T) {
	server, err := Listen(options(measured()), nil)
	if err != nil {
		t.Fatal(err)
	}
	o := options(nil)
	o.Listen = []string{server.Addrs()[0].String()}
	if _, err := Listen(o, nil); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("second server at one address: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	var scrapes sync.WaitGroup
	for range 4 {
		scrapes.Go(func() {
			response, err := http.Get("http://" + server.Addrs()[0].String() + "/metrics")
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			if got, err := io.ReadAll(response.Body); err != nil || string(got) != body {
				t.Errorf("%v: %d bytes", err, len(got))
			}
		})
	}
	scrapes.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stop: %v", err)
	}
	if response, err := http.Get("http://" + server.Addrs()[0].String() + "/metrics"); err == nil {
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
	o := options(measured())
	o.Config.Config = filepath.Join(t.TempDir(), "web.yaml")
	if _, err := Listen(o, nil); err == nil {
		t.Error("a missing file is accepted")
	}
	write := func(text string) {
		if err := os.WriteFile(o.Config.Config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("nonsense: true\n")
	if _, err := Listen(o, nil); err == nil || !strings.Contains(err.Error(), o.Config.Config) {
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
	response, err := http.Get("http://" + server.Addrs()[0].String() + "/metrics")
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
