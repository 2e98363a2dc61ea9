package config

import (
	"log/slog"
	"maps"
	"slices"
)

// Overrides watches what the VMs of a host make of a Publish, and logs once what holds for nobody: a key of
// VMs that names no VM, and a profile that a domain asks for and that there is not; and figures that undo
// the configured profile. All of that was to keep something from a tenant.
type Overrides struct {
	publish Publish
	log     *slog.Logger
	unused  map[string]bool    // keys of VMs, by whether it was logged
	names   []string           // of all VMs, at the first look
	unknown map[string]Profile // that was logged, by UUID
	looked  bool
}

// NewOverrides returns the watch over a Publish.
func NewOverrides(p Publish, log *slog.Logger) *Overrides {
	o := &Overrides{publish: p, log: log, unused: make(map[string]bool), unknown: make(map[string]Profile)}
	for key := range p.VMs {
		o.unused[key] = false
	}
	return o
}

// For is that of the Publish, for one of the VMs of a look. EndLook is called after the last of them.
func (o *Overrides) For(uuid, name string, asked Profile) (Profile, Policy) {
	profile, policy := o.publish.For(uuid, name, asked)
	if !o.looked && len(o.unused) > 0 {
		o.names = append(o.names, name)
	}
	if len(o.unused) > 0 {
		key, ok := o.publish.Override(uuid, name)
		if said, unused := o.unused[key]; ok && unused {
			delete(o.unused, key)
			if said {
				o.log.Info("publish override holds", "key", key, "vm", name, "uuid", uuid, "profile", profile)
			}
		}
	}
	if asked != "" && !asked.Valid() && o.unknown[uuid] != asked {
		o.unknown[uuid] = asked
		o.log.Warn("unknown publish profile in domain metadata", "vm", name, "uuid", uuid, "asked", asked, "profile", profile,
			"hint", "virsh edit: trusted, untrusted or off")
	}
	return profile, policy
}

// EndLook ends a look at all VMs.
func (o *Overrides) EndLook() {
	if o.looked {
		return
	}
	o.looked = true
	if p, own := o.publish, o.publish.Profile.policy(); p.Profile == Untrusted && (p.Interval < own.Interval || p.Quantum < own.Quantum) {
		o.log.Warn("configured publish figures are finer than the profile's", "profile", p.Profile, "interval", p.Interval, "quantum", p.Quantum,
			"hint", "leave tree.publish.interval and tree.publish.quantum out")
	}
	for _, key := range slices.Sorted(maps.Keys(o.unused)) {
		o.unused[key] = true
		o.log.Warn("publish override holds for no VM that is known", "key", "tree.publish.vms."+key, "nearest", nearest(key, "\x00", o.names))
	}
	o.names = nil
}
