package host

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/export/terminal"
	"github.com/scaph/scaph/internal/meter"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
	"github.com/scaph/scaph/internal/vmmap/libvirt"
)

const (
	runtimeDir   = "/run/libvirt/qemu"
	firstListing = 3 * time.Second // that long the first tick waits to know the virtual machines
)

// OpenVMs looks the virtual machines up for the first time, and keeps on looking beside the meter.
func OpenVMs(ctx context.Context, a *app.App) (meter.VMSource, error) {
	c, log := a.Config, a.Log
	m := vmmap.Config{Procfs: c.Host.Procfs, Runtime: runtimeDir, Log: log}
	if c.Libvirt.Enabled == config.None {
		m.Without = "libvirt.enabled is false"
	} else {
		client, err := libvirt.Open(c.Libvirt.URI, log)
		switch {
		case err == nil:
			m.Libvirt = client
			a.OnClose(func() error { client.Close(); return nil })
		case c.Libvirt.Enabled == config.On:
			return nil, fmt.Errorf("libvirt.enabled is true: %w", err)
		default:
			m.Without = err.Error()
		}
	}
	mapper := vmmap.New(m)
	first, cancel := context.WithTimeout(ctx, firstListing)
	defer cancel()
	if err := mapper.Refresh(first); err != nil {
		log.Warn("virtual machines are not known yet", "error", err)
	}
	known := mapper.Current()
	log.Info("virtual machines", "known", len(known.VMs), "source", known.Note)
	a.Add(app.Service{Name: "vmmap", Run: mapper.Run})
	return mapper, nil
}

func vmsCommand(e *cli.Env) *cobra.Command {
	var output string
	var seconds int
	cmd := &cobra.Command{
		Use:   "vms",
		Short: "List virtual machines: name, UUID, state, power, energy",
		Example: `  scaph-host vms
  scaph-host vms -o json --time 10`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return cli.UsageErrorf("--output %q: must be table or json", output)
			}
			if seconds < 1 {
				return cli.UsageErrorf("--time %d: must be at least 1 second", seconds)
			}
			c, log, err := e.LoadQuiet(cmd)
			if err != nil {
				return err
			}
			c.Interval = time.Duration(seconds) * time.Second
			a, err := e.Open(cmd.Context(), c, log, app.KeepNoChange)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			a.Add(app.Service{Name: "vms", Run: func(ctx context.Context) error {
				defer cancel()
				first := a.Meter.Next(ctx, 0)
				if first == nil {
					return nil
				}
				now := a.Meter.Next(ctx, first.Seq)
				if now == nil {
					return nil
				}
				v := snapshot.Between(first, now)
				share := func(uuid string) string {
					i := slices.IndexFunc(now.VMs, func(vm snapshot.VM) bool { return vm.UUID == uuid })
					return now.VMs[i].Share // a View has the Snapshot's machines
				}
				if output == "json" {
					return terminal.WriteVMsJSON(cmd.OutOrStdout(), v, share)
				}
				return terminal.WriteVMs(cmd.OutOrStdout(), v, share)
			}})
			return a.Run(ctx)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	cmd.Flags().IntVarP(&seconds, "time", "t", 1, "seconds to measure power over")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
