package web

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

const pprofPath = "/debug/pprof/"

// Handler serves all pages, as a Server does. The error is about those that parts registered.
func Handler(o Options) (http.Handler, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	mux := http.NewServeMux()
	seen := map[string]bool{}
	for _, p := range o.Pages {
		if !ValidPath(p.Path) || seen[p.Path] {
			return nil, fmt.Errorf("two parts want %s, or it is no path for a page; choose another path", p.Path)
		}
		seen[p.Path] = true
		mux.Handle("GET "+p.Path, limited(&compressor{next: p.Handler}))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { Answer(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(o); err != nil {
			Answer(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		Answer(w, http.StatusOK, "ready")
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { index(w, o) })
	if o.Pprof && o.Profiles != nil {
		mux.Handle(pprofPath, limited(o.Profiles))
	}
	return mux, nil
}

// limited bounds how many requests a handler has at a time.
func limited(next http.Handler) http.Handler {
	places := make(chan struct{}, maxInFlight)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next.ServeHTTP(w, r)
		default:
			Answer(w, http.StatusServiceUnavailable, fmt.Sprintf("%d requests for this page are being answered; try again later", maxInFlight))
		}
	})
}

// ready says why the last Snapshot is not fit to be served.
func ready(o Options) error {
	snapshot := o.Source.Latest()
	if snapshot == nil {
		return errors.New("not ready: no measurement yet")
	}
	if age := o.Now().Sub(snapshot.Time); age >= 2*snapshot.Interval {
		return fmt.Errorf("not ready: the last measurement is %v old, one is due every %v", age.Round(time.Millisecond), snapshot.Interval)
	}
	return nil
}

// Answer writes one line of text.
func Answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, text) // the client may have gone; nothing is to be done about it
}
