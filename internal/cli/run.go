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

SIGHUP reads the configuration again; what is wrong with it is logged, and the old one stays.
SIGTERM and SIGINT end it gracefully.`,
		Example: fmt.Sprintf("  %[1]s run --config /etc/scaph/%[1]s.yaml", e.Program.Kind),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, log, err := e.Load(cmd, nil)
			if err != nil {
				return err
			}
			e.linked = app.FindLinked(log)
			e.linked.Drop(log)
			serve := e.Program.Serve
			if serve == nil {
				serve = serveExporters
			}
			return e.untilReload(cmd, c, log, serve)
		},
	}
}

// serveExporters runs the configured exporters.
func serveExporters(ctx context.Context, e *Env, c config.Config, log *slog.Logger) error {
	a, err := e.Open(ctx, c, log, app.KeepAlways)
	if err != nil {
		return err
	}
	a.WatchZones(e.Program.Kind)
	if c.Prometheus.Enabled {
		if err := e.AddPrometheus(a, nil); err != nil {
			return errors.Join(err, a.Close())
		}
	}
	return a.Run(ctx)
}

// untilReload serves one configuration after the other. A reload is a stop and a start within the process; the meter
// goes on from its state, so no energy and no count is lost between the two.
func (e *Env) untilReload(cmd *cobra.Command, c config.Config, log *slog.Logger,
	serve func(context.Context, *Env, config.Config, *slog.Logger) error,
) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		ctx, cancel := context.WithCancel(cmd.Context())
		done := make(chan error, 1)
		go func() { done <- serve(ctx, e, c, log) }()
		next, err := e.awaitReload(cmd, hup, done, c, log)
		cancel()
		switch {
		case errors.Is(err, app.ErrZonesChanged):
			log.Info("starting anew with the zones that are there now") // the state goes on
			continue
		case next == nil:
			return err
		}
		if err := <-done; err != nil {
			log.Warn("the old configuration did not end cleanly", "error", err)
		}
		c, log = *next, newLogger(cmd.ErrOrStderr(), next.Log)
	}
}

// awaitReload gives the next configuration, or nil and serve's error when that has ended.
func (e *Env) awaitReload(cmd *cobra.Command, hup <-chan os.Signal, done <-chan error, now config.Config, log *slog.Logger) (*config.Config, error) {
	for {
		select {
		case err := <-done:
			return nil, err
		case <-hup:
		}
		next, _, err := e.Load(cmd, nil)
		if err != nil {
			log.Error("the configuration was not reloaded; the old one stays", "error", err)
			continue
		}
		changes := config.Diff(now, next)
		if len(changes) == 0 {
			log.Info("the configuration was reloaded; nothing has changed")
			continue
		}
		log.Info("the configuration was reloaded", "changes", changes)
		return &next, nil
	}
}
