package config

import "time"

// Publish says how finely tenants may see their own meter (the side channel of a power meter is
// its resolution).
type Publish struct {
	Profile Profile `mapstructure:"profile" oneof:"trusted untrusted off"`
	Policy  `mapstructure:",squash"`
	// VMs overrides the profile of single virtual machines, by UUID or name.
	VMs map[string]VMPublish `mapstructure:"vms" allowed:"UUID or name: {profile: trusted, untrusted or off}"`
}

// VMPublish is the override of one virtual machine.
type VMPublish struct {
	Profile Profile `mapstructure:"profile"`
}

// A Policy is what a Profile means. Its values, where not configured, are the profile's.
type Policy struct {
	Interval time.Duration `mapstructure:"interval" allowed:"a duration from the tick's interval to 1h, such as 10s"`     // between two publishes
	Jitter   time.Duration `mapstructure:"jitter" allowed:"a duration from 0s to less than tree.publish.interval"`        // each publish is late by a random time up to this
	Quantum  Energy        `mapstructure:"quantum" allowed:"an energy from 1uJ to 1000J, such as 1mJ (units: uJ, mJ, J)"` // published counters are multiples of it, the carry kept
}

// A Profile says how far the tenants of a virtual machine are trusted.
type Profile string

// The profiles.
const (
	Trusted   Profile = "trusted"   // every second, to the millijoule
	Untrusted Profile = "untrusted" // every 10 s with jitter, to the joule
	Off       Profile = "off"       // nothing: the machine's directory is empty
)

// policy gives what the profile means where nothing else is configured.
func (p Profile) policy() Policy {
	if p == Untrusted {
		return Policy{Interval: 10 * time.Second, Jitter: 2 * time.Second, Quantum: Joule}
	}
	return Policy{Interval: time.Second, Quantum: Millijoule}
}

// valid tells whether the profile is one of the above.
func (p Profile) valid() bool { return p == Trusted || p == Untrusted || p == Off }

// For gives profile and policy of one virtual machine. An override by UUID goes before one by name: a name can be
// used again. Both go before what the machine's own definition asks for, which
// counts where it is a profile: whoever may edit a domain's definition owns the host.
func (p Publish) For(uuid, name string, asked Profile) (Profile, Policy) {
	profile := p.Profile
	if override, ok := p.VMs[uuid]; ok {
		profile = override.Profile
	} else if override, ok := p.VMs[name]; ok {
		profile = override.Profile
	} else if asked.valid() {
		profile = asked
	}
	return profile, p.PolicyOf(profile)
}

// PolicyOf gives the policy of a profile that was chosen for one virtual machine: the configured
// figures belong to the configured profile, another one has its own.
func (p Publish) PolicyOf(profile Profile) Policy {
	if profile == p.Profile {
		return p.Policy
	}
	return profile.policy()
}
