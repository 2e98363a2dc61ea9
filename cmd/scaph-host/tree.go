package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/export/prometheus"
	"github.com/scaph/scaph/internal/meter"
	"github.com/scaph/scaph/internal/vfs"
)

// A host is what lives as long as the process, while configurations come and go.
type host struct {
	store  *vfs.Store  // the service manager's descriptor store; what was left in it can be taken once
	server *vfs.Server // of the mounted tree, nil while there is none
	tree   *vfs.Tree   // what server serves
	group  uint32      // that may read the counters in tree, beside root

	publisher *vfs.Publisher // what tenants were shown; nil before the first tree
}

// addTree mounts the tree, or goes on with the one that is mounted, and keeps it fed. Nil counters say that there is none.
func (h *host) addTree(a *app.App) (prometheus.TreeCounters, error) {
	c := a.Config.Tree
	if c.Enabled == config.None {
		return nil, h.unmount()
	}
	if err := h.startTree(c, a.Config.Host.Procfs, a.Log); err != nil {
		// A mount that was left for us and is of no use any more is replaced before the next start of the service.
		replaced := errors.Is(err, vfs.ErrIncompatible) || errors.Is(err, vfs.ErrUnmounted)
		if c.Enabled == config.On || replaced {
			return nil, err
		}
		a.Log.Warn("there is no tree: guests cannot read their meters", "why", err)
		return nil, nil
	}
	a.Log.Info("serving the tree", "path", h.server.Path())
	a.Add(app.Service{Name: "tree", Run: h.server.Serve})
	a.Add(app.Service{Name: "publisher", Run: func(ctx context.Context) error {
		h.feed(ctx, a)
		return nil
	}})
	return h.tree, nil
}

// startTree sees to it that h.server serves h.tree at the configured path.
func (h *host) startTree(c config.Tree, procfs string, log *slog.Logger) error {
	group, why, err := vfs.FindGroup("/", c.Owner)
	if err != nil {
		return err
	}
	log.Debug("who may read the counters of the tree, beside root", "group", why)
	if h.tree == nil || h.group != group {
		version, _ := cli.Version()
		h.tree, h.group = vfs.NewTree(version, group), group
	}
	options := vfs.Options{Path: c.Path, Procfs: procfs, Log: log}
	if h.server != nil { // a reload: guests see nothing of it, unless the tree moves
		next, err := h.server.Successor(h.tree, options)
		if err == nil {
			h.server = next
			return nil
		}
		log.Warn("the tree is mounted anew; guests that hold it must be restarted", "why", err)
		if err := h.unmount(); err != nil {
			return err
		}
	}
	h.server, err = vfs.Start(h.tree, options, h.store)
	return err
}

func (h *host) unmount() error {
	if h.server == nil {
		return nil
	}
	server := h.server
	h.server = nil
	return server.Unmount()
}

// leave is the end: a mount that waits in the store for the next process stays, another one goes.
func (h *host) leave() error {
	if h.server == nil {
		return nil
	}
	return h.server.Leave()
}

// feed publishes each Snapshot to the tree, as finely as each machine's tenant may see it.
func (h *host) feed(ctx context.Context, a *app.App) {
	if h.publisher == nil {
		h.publisher = vfs.NewPublisher(rand.Float64)
	}
	if err := h.publisher.Keep(a.Config.State.Run); err != nil {
		a.Log.Warn("not known what was shown in the tree last", "error", err)
	}
	overrides, psys := config.NewOverrides(a.Config.Tree.Publish, a.Log), a.Config.Sensor.Basis == "psys"
	forgets := false // what is shown cannot be kept
	var readings []vfs.Reading
	var seq uint64
	for s := a.Meter.Next(ctx, 0); s != nil; s = a.Meter.Next(ctx, seq) {
		seq = s.Seq
		readings = readings[:0]
		for i := range s.VMs {
			if !s.VMs[i].Present {
				continue // its series stay for a while, its directory does not
			}
			readings = append(readings, reading(&s.VMs[i], overrides, psys))
		}
		overrides.EndLook()
		vms, due := h.publisher.Publish(s.Time, readings)
		if !due {
			continue
		}
		err := h.publisher.Remember()
		if err != nil && !forgets { // nobody is to see less of the meter for that
			a.Log.Warn("after a restart, tenants may see a value before it is due", "error", err)
		}
		forgets = err != nil
		if err := h.tree.Publish(vfs.Update{At: s.Time, Kinds: kinds(s), Source: s.Host.Source, VMs: vms}); err != nil {
			a.Log.Error("a virtual machine cannot be shown in the tree", "error", err)
		}
	}
}

// reading is a VM's own meter: what it was charged, from the first time that it was seen.
func reading(vm *meter.VM, overrides *config.Overrides, psys bool) vfs.Reading {
	profile, policy := overrides.For(vm.UUID, vm.Name, config.Profile(vm.Publish))
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
