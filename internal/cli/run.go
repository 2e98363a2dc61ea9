package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/config"
)

func (e *Env) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the service: everything that the configuration enables",
		Long: `Run the service: everything that the configuration enables.

SIGHUP reads the configuration again. The new one takes effect whole, or, if any part of it cannot be opened, not at all:
then the log says why, and the old one goes on. SIGTERM and SIGINT end the service gracefully.`,
		Example: fmt.Sprintf("  %[1]s run --config /etc/scaph/%[1]s.yaml", e.Program.Kind),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.Serve(cmd, Service{Keep: app.KeepAlways})
		},
	}
}

// A Service says how a command runs one.
type Service struct {
	Keep   app.Keep
	Keys   map[string]string    // which of its flags set which key
	Adjust func(*config.Config) // what the command says of the configuration, whatever stands there; nil: nothing
}

// Serve runs a service until the command's context is done.
func (e *Env) Serve(cmd *cobra.Command, o Service) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	s := &service{Service: o, env: e, cmd: cmd}
	c, log, err := s.load()
	if err != nil {
		return err
	}
	e.linked = app.FindLinked(log)
	e.linked.Drop(log)
	return s.run(cmd.Context(), c, log, hup)
}

// A service is Apps one after the other. The next one is opened while the present one runs, so that what is wrong with it is
// known before anything is let go.
type service struct {
	Service
	env *Env
	cmd *cobra.Command

	app  *app.App   // that runs
	done chan error // of app.Run
	last chan error // of the former's, which may be draining still; nil if there is none
}

func (s *service) run(ctx context.Context, c config.Config, log *slog.Logger, hup <-chan os.Signal) error {
	first, err := s.open(ctx, c, log)
	if err != nil {
		return err
	}
	s.start(ctx, first)
	for {
		select {
		case err := <-s.done:
			s.awaitLast()
			return err
		case <-hup:
			err = s.reload(ctx)
		case <-s.app.ZonesChanged():
			err = s.replace(ctx, s.app.Config, s.app.Log)
			if err == nil {
				s.app.Log.Info("went on with the energy zones that are there now")
			}
		}
		if err != nil && ctx.Err() == nil {
			s.env.faults.add("reload")
			s.app.Log.Error("the configuration was not reloaded; the old one goes on", "error", err)
		}
	}
}

// reload takes the configuration as it is now.
func (s *service) reload(ctx context.Context) error {
	next, log, err := s.load()
	if err != nil {
		return err
	}
	changes := config.Diff(s.app.Config, next)
	if len(changes) == 0 {
		log.Info("the configuration was reloaded; nothing has changed")
		return nil
	}
	if err := s.replace(ctx, next, log); err != nil {
		return err
	}
	log.Info("the configuration was reloaded", "changes", changes)
	return nil
}

// replace runs a new App in the place of the present one, which goes on where the new one cannot be opened.
func (s *service) replace(ctx context.Context, c config.Config, log *slog.Logger) error {
	next, err := s.open(ctx, c, log)
	if err != nil {
		return err
	}
	s.awaitLast() // one at a time drains
	if !s.app.Retire() {
		return next.Close() // how it ended is told by done
	}
	if err := next.Succeed(s.app); err != nil {
		end := make(chan error, 1)
		end <- errors.Join(err, next.Close())
		s.done = end
		return nil
	}
	s.last = s.done
	s.start(ctx, next)
	return nil
}

func (s *service) load() (config.Config, *slog.Logger, error) {
	c, log, err := s.env.Load(s.cmd, s.Keys)
	if err == nil && s.Adjust != nil {
		s.Adjust(&c)
	}
	return c, log, err
}

func (s *service) open(ctx context.Context, c config.Config, log *slog.Logger) (*app.App, error) {
	return s.env.openService(ctx, c, log, app.Options{
		Keep: s.Keep, Former: s.app, Faults: s.env.faults.counts,
	})
}

func (s *service) start(ctx context.Context, a *app.App) {
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	s.app, s.done = a, done
}

// awaitLast waits until the App before this one has let go of everything.
func (s *service) awaitLast() {
	if s.last == nil {
		return
	}
	if err := <-s.last; err != nil {
		s.app.Log.Warn("the old configuration did not end cleanly", "error", err)
	}
	s.last = nil
}
