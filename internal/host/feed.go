package host

import (
	"log/slog"

	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vfs"
)

// A feed publishes Snapshots to the tree, as finely as each VM's tenant may see it.
type feed struct {
	publisher *vfs.Publisher
	tree      interface{ Publish(vfs.Update) error }
	overrides *config.Overrides
	psys      bool // the basis is the platform
	log       *slog.Logger
	forgets   bool          // what is shown cannot be kept
	readings  []vfs.Reading // reused
}

func newFeed(publisher *vfs.Publisher, tree interface{ Publish(vfs.Update) error }, c config.Config, log *slog.Logger) *feed {
	return &feed{
		publisher: publisher, tree: tree, log: log,
		overrides: config.NewOverrides(c.Tree.Publish, log), psys: c.Sensor.Basis == "psys",
	}
}

// publish shows a Snapshot, where that is due for any VM.
func (f *feed) publish(s *snapshot.Snapshot) {
	f.readings = f.readings[:0]
	for i := range s.VMs {
		if !s.VMs[i].Present {
			continue // its series stay for a while, its directory does not
		}
		f.readings = append(f.readings, f.reading(&s.VMs[i]))
	}
	f.overrides.EndLook()
	vms, due := f.publisher.Publish(s.Time, f.readings)
	if !due {
		return
	}
	err := f.publisher.Remember()
	if err != nil && !f.forgets { // nobody is to see less of the meter for that
		f.log.Warn("after a restart, tenants may see a value before it is due", "error", err)
	}
	f.forgets = err != nil
	if err := f.tree.Publish(vfs.Update{At: s.Time, Kinds: s.Kinds(), Source: s.Host.Source, VMs: vms}); err != nil {
		f.log.Error("a VM cannot be shown in the tree", "error", err)
	}
}

// reading is a VM's own meter: what it was charged, from the first time that it was seen.
func (f *feed) reading(vm *snapshot.VM) vfs.Reading {
	profile, policy := f.overrides.For(vm.UUID, vm.Name, config.Profile(vm.Publish))
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
	if f.psys { // where the platform is the basis, it is what a guest sees as its package
		r.Energy[energy.Package] = r.Energy[energy.Psys]
	}
	return r
}
