package prometheus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/scaph/scaph/internal/series"
)

// Bounds of the server: it is a side show of a daemon that has better things to do.
const (
	maxInFlight   = 8                // scrapes at a time; further ones get 503
	maxHeader     = 16 << 10         // bytes
	headerTimeout = 5 * time.Second  // for a request's head
	readTimeout   = 10 * time.Second // for a whole request
	writeTimeout  = 10 * time.Second // for an answer, to a slow reader: it keeps one of the places above
	idleTimeout   = 2 * time.Minute  // of a kept connection; scrapes come every minute or more often
	stopTimeout   = 2 * time.Second  // for requests in flight at the end
)

// Options say what a Server serves, and where.
type Options struct {
	Program string // for the landing page: scaph-host or scaph-guest
	Build   Build
	Source  Source
	Tree    TreeCounters // nil where no tree is served
	// System has what the compatibility table shows beyond the Snapshot; nil where that table is not wanted.
	System    func() *series.System
	Listen    string // address:port
	Path      string // of the metrics, "/metrics"
	WebConfig string // path of the exporter toolkit's web configuration (TLS, basic auth); "" for none
	Logger    *slog.Logger
	Now       func() time.Time // nil for time.Now
}

// A Server serves metrics, health and a landing page over HTTP or HTTPS.
type Server struct {
	options     Options
	socket      net.Listener
	connections *connections
	server      *http.Server
}

// Listen binds the address and checks the web configuration, so that the caller fails early. Former is a server of this
// process that runs, and is to end when the new one runs; nil if there is none. Whoever does not call Run calls Close.
func Listen(o Options, former *Server) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := web.Validate(o.WebConfig); err != nil {
		return nil, fmt.Errorf("prometheus.web_config %s: %w", o.WebConfig, err)
	}
	socket, err := listen(o.Listen, former)
	if err != nil {
		return nil, fmt.Errorf("prometheus.listen %s: %w", o.Listen, err)
	}
	s := &Server{
		options:     o,
		socket:      socket,
		connections: newConnections(socket),
		server: &http.Server{
			Handler:           handler(o),
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug), // what clients do wrong
		},
	}
	s.connections.watch(s.server)
	return s, nil
}

// Addr is where the server listens; of use where the port was 0.
func (s *Server) Addr() net.Addr { return s.socket.Addr() }

// Close gives the address up. Run does so too; it may be called again.
func (s *Server) Close() error {
	if err := s.socket.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Run serves until ctx is done, then lets requests in flight finish for a moment. Clients that only hold a connection are
// not waited for.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() {
		// Its log says again, in its own way, what our caller says.
		served <- web.Serve(s.connections, s.server, &web.FlagConfig{WebConfigFile: &s.options.WebConfig}, slog.New(slog.DiscardHandler))
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serving %s: %w", s.Addr(), errors.Join(err, s.Close()))
	case <-ctx.Done():
	}
	// Before Shutdown, from which on no further request is answered: those of the clients that have just come in are.
	err := s.Close()
	if s.connections.dropSilent(grace) > 0 {
		<-time.After(grace)
		s.connections.dropSilent(0)
	}
	// ctx is done already, but the requests in flight are to have their time.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if s.server.Shutdown(stopping) != nil {
		s.options.Logger.Warn("requests were cut off at the end: their clients are slow to read", "after", stopTimeout)
		err = errors.Join(err, s.server.Close())
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) && !errors.Is(serveErr, net.ErrClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// handler serves all pages.
func handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+o.Path, &compressor{next: newMetrics(o.Source, o.Tree, o.System, o.Build, o.Logger)})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(o); err != nil {
			answer(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		answer(w, http.StatusOK, "ready")
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { landing(w, o) })
	return mux
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

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, text) // the client may have gone; nothing is to be done about it
}
