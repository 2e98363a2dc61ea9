package config

import (
	"strings"
	"time"
)

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

// Valid reports whether the profile is one of the above.
func (p Profile) Valid() bool { return p == Trusted || p == Untrusted || p == Off }

// For returns profile and policy of one VM. An override by UUID goes before one by name: a name can
// be used again. Both go before what the domain's own definition asks for: whoever may edit that
// owns the host. If it asks for something that is not a profile, it meant to restrict something, and
// nobody knows what: the tenant sees nothing until that is put right.
func (p Publish) For(uuid, name string, asked Profile) (Profile, Policy) {
	profile := p.Profile
	if key, ok := p.Override(uuid, name); ok {
		profile = p.VMs[key].Profile
	} else if asked.Valid() {
		profile = asked
	} else if asked != "" {
		profile = Off
	}
	return profile, p.PolicyOf(profile)
}

// Override returns the key in VMs that holds for one VM.
func (p Publish) Override(uuid, name string) (key string, ok bool) {
	if len(p.VMs) == 0 {
		return "", false
	}
	for _, key := range []string{uuid, name} {
		key = canonicalVM(key)
		if _, ok := p.VMs[key]; ok {
			return key, true
		}
	}
	return "", false
}

// canonical writes the UUIDs among the keys of VMs as libvirt does. It returns a key that names the
// same VM as another one, "" if there is none.
func (p *Publish) canonical() (twice string) {
	vms := make(map[string]VMPublish, len(p.VMs))
	for key, override := range p.VMs {
		canonical := canonicalVM(key)
		if _, ok := vms[canonical]; ok {
			return key
		}
		vms[canonical] = override
	}
	p.VMs = vms
	return ""
}

// canonicalVM returns a UUID in canonical form, 36 characters in lower case. It may be written in
// capitals and without its hyphens, which is what libvirt takes too. Anything else is a name, which
// stays as it is: names have a case.
func canonicalVM(key string) string {
	digits := key
	if len(key) == 36 && key[8] == '-' && key[13] == '-' && key[18] == '-' && key[23] == '-' {
		digits = key[:8] + key[9:13] + key[14:18] + key[19:23] + key[24:]
	}
	if len(digits) != 32 || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return key
	}
	digits = strings.ToLower(digits)
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
}

// PolicyOf returns the policy of a profile that was chosen for one VM: the configured figures belong
// to the configured profile, another one has its own.
func (p Publish) PolicyOf(profile Profile) Policy {
	if profile == p.Profile {
		return p.Policy
	}
	return profile.policy()
}
