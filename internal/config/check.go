package config

import (
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxWatts bounds every configured power: no machine draws 100 kW.
const maxWatts = 1e5

var groupName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$`)

// check calls bad with the name of each key whose value is not allowed. Keys that the program does
// not know have their defaults, which are allowed.
//
// Comparisons are written in the positive, so that NaN fails them all.
func (c *Config) check(bad func(key string), keys []key) {
	require := func(key string, ok bool) {
		if !ok {
			bad(key)
		}
	}
	for _, k := range keys {
		if k.oneof != nil {
			require(k.name, slices.Contains(k.oneof, k.field(c).String()))
		}
	}
	interval := c.Interval >= 100*time.Millisecond && c.Interval <= time.Minute
	require("interval", interval)
	require("host.sysfs", filepath.IsAbs(c.Host.Sysfs))
	require("host.procfs", filepath.IsAbs(c.Host.Procfs))
	require("sensor.powercap", c.Sensor.Powercap == "auto" || filepath.IsAbs(c.Sensor.Powercap))
	require("state.run", filepath.IsAbs(c.State.Run))
	require("state.lib", filepath.IsAbs(c.State.Lib))

	estimate := c.Sensor.Estimate
	require("sensor.estimate.max_watts", estimate.MaxWatts > 0 && estimate.MaxWatts <= maxWatts)
	require("sensor.estimate.idle_watts", estimate.IdleWatts >= 0 && estimate.IdleWatts < estimate.MaxWatts)
	for zone, watts := range c.Attribution.IdleWatts {
		if zone == "" || !(watts >= 0 && watts <= maxWatts) {
			bad("attribution.idle_watts")
			break
		}
	}
	require("libvirt.uri", strings.Contains(c.Libvirt.URI, "://"))

	require("tree.path", filepath.IsAbs(c.Tree.Path) && path.Clean(c.Tree.Path) != "/")
	require("tree.owner", groupName.MatchString(c.Tree.Owner))
	publish := c.Tree.Publish
	if interval { // else these would only say it again
		require("tree.publish.interval", publish.Interval >= c.Interval && publish.Interval <= time.Hour)
		require("tree.publish.jitter", publish.Jitter >= 0 && publish.Jitter < publish.Interval)
	}
	require("tree.publish.quantum", publish.Quantum >= Microjoule && publish.Quantum <= 1000*Joule)
	for vm, override := range publish.VMs {
		if vm == "" || !override.Profile.Valid() {
			bad("tree.publish.vms")
			break
		}
	}

	require("processes.top", c.Processes.Top >= 0 && c.Processes.Top <= 10000)
	for _, section := range c.Sections {
		section.Values.Check(func(key string) { bad(section.Name + "." + key) })
	}
}
