// Package host is what only a host has, beside what both programs share: its VMs, the tree of their meters, what these take
// of the machine, and their commands.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/vfs"
)

// A Host is what lives as long as the process, while configurations come and go.
type Host struct {
	store     *vfs.Store // the service manager's descriptor store; what was left in it can be taken once
	tree      *vfs.Tree  // that all servers serve; nil before the first
	publisher *vfs.Publisher
	serving   *serving // nil while there is no tree
	started   bool     // a service runs, or has run
}

// New takes what the service manager has kept for this process.
func New() *Host { return &Host{store: vfs.OpenStore()} }

// A serving is a mount that is served, from one configuration to the next where that does not move it.
type serving struct {
	server *vfs.Server
	stop   context.CancelFunc
	ended  chan struct{}
	err    error // why, read when ended is closed
}

func newServing(server *vfs.Server) *serving {
	return &serving{server: server, ended: make(chan struct{})}
}

func (s *serving) begin() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() {
		defer close(s.ended)
		s.err = s.server.Serve(ctx)
	}()
}

// watch returns when the tree is not served any more.
func (s *serving) watch(ctx context.Context) error {
	select {
	case <-s.ended:
		return s.err
	case <-ctx.Done():
		return nil
	}
}

// end stops serving, and returns when all requests that were taken are answered.
func (s *serving) end() {
	s.stop()
	<-s.ended
}

// AddTree adds the tree to an App: it goes on with the one that is mounted, or mounts it. What is served now stays as it is
// until the App starts. Nil counters say that there is none.
func (h *Host) AddTree(a *app.App) (export.TreeCounters, error) {
	a.OnStart(func() { h.started = true })
	c := a.Config.Tree
	if c.Enabled == config.None {
		return nil, h.removeTree(a)
	}
	group, err := findGroup(a.Config, a.Log)
	next := h.serving
	if err == nil && (next == nil || !next.server.At(c.Path)) {
		next, err = h.mountTree(a, group)
	}
	if err != nil {
		// A tree that guests have is not given up for one that may not come; and a mount that was left for us and is of no use
		// any more is replaced before the next start of the service.
		replaced := errors.Is(err, vfs.ErrIncompatible) || errors.Is(err, vfs.ErrUnmounted)
		if c.Enabled == config.On || c.Owner != vfs.Auto || h.serving != nil || replaced {
			return nil, err
		}
		a.Log.Warn("there is no tree: guests cannot read their meters", "error", err)
		return nil, nil
	}
	a.OnStart(func() {
		h.tree.SetGroup(group)
		a.Log.Info("serving the tree", "path", next.server.Path())
	})
	a.Add(app.Service{Name: "tree", Run: func(ctx context.Context) error { return next.watch(ctx) }})
	a.Add(app.Service{Name: "publisher", Run: func(ctx context.Context) error {
		if err := h.publisher.Keep(a.Config.State.Run); err != nil {
			a.Log.Warn("what was shown in the tree last is not known", "error", err)
		}
		f := newFeed(h.publisher, h.tree, a.Config, a.Log)
		for s := a.Next(ctx, 0); s != nil; s = a.Next(ctx, s.Seq) {
			f.publish(s)
		}
		return nil
	}})
	return h.tree, nil
}

// findGroup finds who may read the counters of the tree, beside root.
func findGroup(c config.Config, log *slog.Logger) (uint32, error) {
	group, why, err := vfs.FindGroup("/", c.Tree.Owner)
	if err != nil {
		return 0, fmt.Errorf("tree.owner: %w", err)
	}
	log.Debug("who may read the counters of the tree, beside root", "group", why)
	return group, nil
}

// removeTree has the tree taken away when the App starts.
func (h *Host) removeTree(a *app.App) error {
	if h.serving == nil {
		return nil
	}
	if err := vfs.MayMount(); err != nil {
		return fmt.Errorf("tree.enabled: a reload cannot take the tree away; restart the service: %w", err)
	}
	a.OnStart(func() {
		if err := h.Unmount(); err != nil {
			a.Log.Error("the tree could not be taken away", "error", err)
		}
	})
	return nil
}

// mountTree makes a mount ready that is served from the App's start on, in the place of the one there is.
func (h *Host) mountTree(a *app.App, group uint32) (*serving, error) {
	if h.tree == nil {
		version, _ := cli.Version()
		h.tree, h.publisher = vfs.NewTree(version, group), vfs.NewPublisher(rand.Float64)
	}
	options := vfs.Options{Path: a.Config.Tree.Path, Procfs: a.Config.Host.Procfs, Log: a.Log}
	var server *vfs.Server
	var err error
	if h.serving == nil {
		server, err = vfs.Start(h.tree, options, h.store)
	} else if server, err = vfs.Mount(h.tree, options); err != nil {
		err = fmt.Errorf("tree.path: a reload cannot move the tree; restart the service: %w", err)
	}
	if err != nil {
		return nil, err
	}
	next := newServing(server)
	drop := server.Unmount // of a reload that comes to nothing
	if !h.started {
		drop = server.Leave
	}
	taken := false
	a.OnClose(func() error {
		if taken {
			return nil
		}
		return drop()
	})
	a.OnStart(func() {
		taken = true
		next.begin()
		if h.serving != nil {
			a.Log.Warn("the tree has moved; guests that hold it must be restarted", "from", h.serving.server.Path(), "to", server.Path())
			if err := h.Unmount(); err != nil {
				a.Log.Error("the former mount of the tree stays", "error", err)
			}
			server.Keep(h.store)
		}
		h.serving = next
	})
	return next, nil
}

// Unmount takes the tree away, if there is one.
func (h *Host) Unmount() error {
	if h.serving == nil {
		return nil
	}
	former := h.serving
	h.serving = nil
	former.end()
	return former.server.Unmount()
}

// Leave is the end: a mount that waits in the store for the next process stays, another one goes. Until now guests' reads
// were answered, whatever else took its time to end.
func (h *Host) Leave() error {
	if h.serving == nil {
		return nil
	}
	h.serving.end()
	return h.serving.server.Leave()
}
