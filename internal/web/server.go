// Package web is the process's HTTP server. Parts of the program register pages; health, readiness, the index and, where it
// was asked for, profiles are there without any of them.
//
// It is a side show of a daemon that has better things to do: everything is bounded, and no client delays another, the
// end or a successor.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/scaph/scaph/internal/snapshot"
)

// Bounds of the server.
const (
	maxInFlight   = 8                // requests for one page at a time; further ones get 503
	maxHeader     = 16 << 10         // bytes
	headerTimeout = 5 * time.Second  // for a request's head
	readTimeout   = 10 * time.Second // for a whole request
	writeTimeout  = 10 * time.Second // for an answer, to a slow reader: it keeps one of the places above
	idleTimeout   = 2 * time.Minute  // of a kept connection; scrapes come every minute or more often
	stopTimeout   = 2 * time.Second  // for requests in flight at the end
)

// A Page is what a part of the program serves.
type Page struct {
	Path    string // "/metrics"; see ValidPath
	Summary string // one line for the index
	Handler http.Handler
}

// Source has the last Snapshot; nil before the first tick.
type Source interface {
	Latest() *snapshot.Snapshot
}

// Options say what a Server serves, and where.
type Options struct {
	Config
	Program           string // for the index: scaph-host or scaph-guest
	Version, Revision string
	Source            Source // of readiness
	Pages             []Page
	Profiles          http.Handler // of /debug/pprof/, see package profiles; nil: there are none
	Logger            *slog.Logger
	Now               func() time.Time // nil for time.Now
}

// A Server serves pages over HTTP or HTTPS.
type Server struct {
	options     Options
	connections *connections
	server      *http.Server
}

// Listen binds the addresses, of which there is at least one, and checks the web configuration, so that the caller fails
// early. Former is a server of this process that runs, and is to end when the new one runs; nil if there is none. A
// caller that does not call Run calls Close.
func Listen(o Options, former *Server) (*Server, error) {
	if err := web.Validate(o.Config.Config); err != nil {
		return nil, fmt.Errorf("web.config %s: %w", o.Config.Config, err)
	}
	pages, err := Handler(o)
	if err != nil {
		return nil, err
	}
	sockets, err := listenAll(o.Listen, former)
	if err != nil {
		return nil, err
	}
	s := &Server{
		options:     o,
		connections: newConnections(sockets),
		server: &http.Server{
			Handler:           pages,
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

// Addrs returns where the server listens, in the order of the configuration; of use where a port was 0.
func (s *Server) Addrs() []net.Addr {
	all := make([]net.Addr, len(s.connections.sockets))
	for i, socket := range s.connections.sockets {
		all[i] = socket.Addr()
	}
	return all
}

// Close gives the addresses up. Run does so too; it may be called again.
func (s *Server) Close() error { return s.connections.Close() }

// Run serves until ctx is done, then lets requests in flight finish for a moment. Clients that only hold a connection are
// not waited for.
func (s *Server) Run(ctx context.Context) error {
	defer s.connections.stop()
	served := make(chan error, 1)
	go func() {
		// Its log says again, in its own way, what our caller says.
		served <- web.Serve(s.connections, s.server, &web.FlagConfig{WebConfigFile: &s.options.Config.Config}, slog.New(slog.DiscardHandler))
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serving %s: %w", s.Addrs(), errors.Join(err, s.Close()))
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
		s.options.Logger.Warn("requests cut off at the end", "after", stopTimeout)
		err = errors.Join(err, s.server.Close())
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) && !errors.Is(serveErr, net.ErrClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
