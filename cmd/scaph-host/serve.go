package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/export/prometheus"
	"github.com/scaph/scaph/internal/meter"
	"github.com/scaph/scaph/internal/vfs"
)

// serve runs the service: exporters and tree.
func serve(ctx context.Context, e *cli.Env, c config.Config, log *slog.Logger) error {
	return serveWith(ctx, e, c, log, app.KeepAlways)
}

func serveWith(ctx context.Context, e *cli.Env, c config.Config, log *slog.Logger, keep app.Keep) error {
	a, err := e.Open(ctx, c, log, keep)
	if err != nil {
		return err
	}
	counters, err := addTree(a)
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
func qemuCommand(e *cli.Env) *cobra.Command {
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
			return serveWith(cmd.Context(), e, c, log, app.KeepIfPossible)
		},
	}
}

// store is the service manager's descriptor store. It is opened once in the life of the process: the descriptors
// that the process before left there can be taken once.
var store = vfs.OpenStore()

// addTree mounts the tree and keeps it fed. Nil counters say that there is none.
func addTree(a *app.App) (prometheus.TreeCounters, error) {
	c := a.Config.Tree
	if c.Enabled == config.None {
		return nil, nil
	}
	tree, server, err := startTree(c, a.Config.Host.Procfs, a.Log)
	if err != nil {
		if c.Enabled == config.On {
			return nil, err
		}
		a.Log.Warn("there is no tree: guests cannot read their meters", "why", err)
		return nil, nil
	}
	a.Log.Info("serving the tree", "path", server.Path())
	a.Add(app.Service{Name: "tree", Run: func(ctx context.Context) error {
		return errors.Join(server.Serve(ctx), server.Leave())
	}})
	a.Add(app.Service{Name: "publisher", Run: func(ctx context.Context) error {
		feed(ctx, a.Meter, tree, c.Publish, a.Config.Sensor.Basis == "psys", a.Log)
		return nil
	}})
	return tree, nil
}

func startTree(c config.Tree, procfs string, log *slog.Logger) (*vfs.Tree, *vfs.Server, error) {
	group, why, err := vfs.FindGroup("/", c.Owner)
	if err != nil {
		return nil, nil, err
	}
	log.Debug("who may read the counters of the tree, beside root", "group", why)
	version, _ := cli.Version()
	tree := vfs.NewTree(version, group)
	server, err := vfs.Start(tree, vfs.Options{Path: c.Path, Procfs: procfs, Log: log}, store)
	return tree, server, err
}

// feed publishes each Snapshot to the tree, as finely as each machine's tenant may see it.
func feed(ctx context.Context, m *meter.Meter, tree *vfs.Tree, publish config.Publish, psys bool, log *slog.Logger) {
	publisher := vfs.NewPublisher(rand.Float64)
	var readings []vfs.Reading
	var seq uint64
	for s := m.Next(ctx, 0); s != nil; s = m.Next(ctx, seq) {
		seq = s.Seq
		readings = readings[:0]
		for i := range s.VMs {
			if !s.VMs[i].Present {
				continue // its series stay for a while, its directory does not
			}
			readings = append(readings, reading(&s.VMs[i], publish, psys))
		}
		vms, due := publisher.Publish(s.Time, readings)
		if !due {
			continue
		}
		if err := tree.Publish(vfs.Update{At: s.Time, Kinds: kinds(s), Source: s.Host.Source, VMs: vms}); err != nil {
			log.Error("a virtual machine cannot be shown in the tree", "error", err)
		}
	}
}

// reading is a machine's own meter: what it was charged, from the first time that it was seen.
func reading(vm *meter.VM, publish config.Publish, psys bool) vfs.Reading {
	profile, policy := publish.For(vm.UUID, vm.Name, config.Profile(vm.Publish))
	r := vfs.Reading{
		UUID: vm.UUID, Name: vm.Name, Running: vm.State == "running",
		Policy: vfs.Policy{
			Interval: policy.Interval, Jitter: policy.Jitter,
			Quantum: energy.Microjoules(policy.Quantum), Off: profile == config.Off,
		},
	}
	for k := range energy.Kind(energy.Kinds) {
		r.Energy[k] = vm.Before.Of(k) + vm.Energy.Of(k)
	}
	if psys { // where the platform is the basis, it is what a guest sees as its package
		r.Energy[energy.Package] = r.Energy[energy.Psys]
	}
	return r
}

// kinds lists the kinds of zone that the host has.
func kinds(s *meter.Snapshot) []energy.Kind {
	var has [energy.Kinds]bool
	for i := range s.Zones {
		has[s.Zones[i].Kind] = true
	}
	var list []energy.Kind
	for k, there := range has {
		if there {
			list = append(list, energy.Kind(k))
		}
	}
	return list
}
