package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
)

// serve runs the service, exporters and tree, with one configuration.
func (h *host) serve(ctx context.Context, e *cli.Env, c config.Config, log *slog.Logger) error {
	return h.serveWith(ctx, e, c, log, app.KeepAlways)
}

func (h *host) serveWith(ctx context.Context, e *cli.Env, c config.Config, log *slog.Logger, keep app.Keep) error {
	a, err := e.Open(ctx, c, log, keep)
	if err != nil {
		return err
	}
	a.WatchZones(config.Host)
	counters, err := h.addTree(a)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	if c.Prometheus.Enabled {
		if err := e.AddPrometheus(a, counters); err != nil {
			return errors.Join(err, a.Close())
		}
	}
	return a.Run(ctx)
}

// qemuCommand is the tree alone, under the name that scaphandre's users know.
func (h *host) qemuCommand(e *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "qemu",
		Short: "Serve the tree of meters for virtual machines, and nothing else",
		Long: `Serve the tree of meters for virtual machines (tree.path, by default
/var/lib/libvirt/scaphandre), and nothing else. Each machine's directory is shaped like
/sys/class/powercap, to be shared with its guest by virtiofs or 9p.`,
		Example: "  scaph-host qemu",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, log, err := e.Load(cmd, nil)
			if err != nil {
				return err
			}
			c.Tree.Enabled = config.On
			c.Prometheus.Enabled = false
			return h.serveWith(cmd.Context(), e, c, log, app.KeepIfPossible)
		},
	}
}
