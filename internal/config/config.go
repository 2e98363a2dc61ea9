// Package config turns a YAML file, the environment and the command line into one validated Config.
//
// A key that is not known is an error, wherever it stands, and so is a value that is not allowed;
// all problems are told at once, each with the key that was probably meant or the values that may
// stand there. Precedence: flags, then environment, then file, then defaults.
package config

import (
	"time"
)

// Program says whose configuration it is: some keys make sense on a host only.
type Program string

// The programs.
const (
	Host  Program = "scaph-host"
	Guest Program = "scaph-guest"
)

// Config is everything that can be configured. What Load returns is valid.
//
// The tags, here and in Sections, are the only list of keys: mapstructure names a key, allowed and oneof say what may stand
// there, and scope:"host" marks what scaph-guest does not know.
type Config struct {
	Interval    time.Duration `mapstructure:"interval" allowed:"a duration from 100ms to 1m, such as 1s"` // between ticks
	Host        HostFS        `mapstructure:"host"`
	Sensor      Sensor        `mapstructure:"sensor"`
	CPUTime     CPUTime       `mapstructure:"cputime"`
	Attribution Attribution   `mapstructure:"attribution" scope:"host"`
	Processes   Processes     `mapstructure:"processes"`
	Libvirt     Libvirt       `mapstructure:"libvirt" scope:"host"`
	Tree        Tree          `mapstructure:"tree" scope:"host"`
	State       State         `mapstructure:"state"`
	Log         Log           `mapstructure:"log"`
	Sections    []Section     `mapstructure:"-"` // the rest
}

// A Section is keys that a part of the program brings: their names begin with the section's.
type Section struct {
	Name   string
	Values Values
}

// Values are the keys of a section: a pointer to a struct with tags as Config has them.
type Values interface {
	// Check calls bad with the name of each key, relative to the section, whose value is not allowed.
	Check(bad func(key string))
}

// HostFS says where the kernel's file systems are, for a process in a container.
type HostFS struct {
	Sysfs  string `mapstructure:"sysfs" allowed:"an absolute path"`
	Procfs string `mapstructure:"procfs" allowed:"an absolute path"`
}

// Sensor says where energy is read.
type Sensor struct {
	Kind string `mapstructure:"kind" scope:"host" oneof:"powercap estimate"`
	// Powercap is the directory that holds the zones. Auto is <host.sysfs>/class/powercap; in a
	// guest, /var/scaphandre if it holds zones.
	Powercap string   `mapstructure:"powercap" allowed:"auto, or an absolute path"`
	Basis    string   `mapstructure:"basis" scope:"host" oneof:"package psys"`
	Estimate Estimate `mapstructure:"estimate" scope:"host"`
	Hwmon    Hwmon    `mapstructure:"hwmon" scope:"host"`
}

// Hwmon is what devices measure of themselves: shown beside the zones, and charged to nobody.
type Hwmon struct {
	Enabled Switch `mapstructure:"enabled" allowed:"auto, true or false"`
}

// Estimate is the power of a machine without RAPL, at rest and under full load, in W.
type Estimate struct {
	IdleWatts float64 `mapstructure:"idle_watts" allowed:"watts, 0 or more and less than sensor.estimate.max_watts"`
	MaxWatts  float64 `mapstructure:"max_watts" allowed:"watts, more than 0 and at most 100000"`
}

// CPUTime says how the CPU time of processes is read.
type CPUTime struct {
	Source string `mapstructure:"source" oneof:"auto bpf procfs"`
}

// Attribution says who is charged for a machine that idles.
type Attribution struct {
	Idle string `mapstructure:"idle" oneof:"shared reserved none"`
	// IdleWatts is the idle floor in W by zone, named by its powercap id or by its name;
	// it is learned where it is not configured.
	IdleWatts map[string]float64 `mapstructure:"idle_watts" allowed:"zone: watts, such as {package-0: 12.5}, 0 to 100000"`
}

// Libvirt is the best source of what the virtual machines are called.
type Libvirt struct {
	Enabled Switch `mapstructure:"enabled" allowed:"auto, true or false"`
	URI     string `mapstructure:"uri" allowed:"a libvirt connection URI, such as qemu:///system"`
}

// Tree is the powercap-shaped directory of each virtual machine.
type Tree struct {
	Enabled Switch  `mapstructure:"enabled" allowed:"auto, true or false"`
	Path    string  `mapstructure:"path" allowed:"an absolute path other than /"`
	Owner   string  `mapstructure:"owner" allowed:"auto, or the name or number of the group that qemu runs as"`
	Publish Publish `mapstructure:"publish"`
}

// State says where readings are kept over a restart (Run, of this boot) and totals over a reboot (Lib).
type State struct {
	Run string `mapstructure:"run" allowed:"an absolute path"`
	Lib string `mapstructure:"lib" allowed:"an absolute path"`
}

// Processes says who is shown by himself, by every exporter.
type Processes struct {
	Top int `mapstructure:"top" allowed:"a whole number from 0 to 10000"` // processes that have a series of their own
}

// Log says what is logged, and how.
type Log struct {
	Level  string `mapstructure:"level" oneof:"debug info warn error"`
	Format string `mapstructure:"format" oneof:"text json"`
}

// Default returns the configuration of a program that was told nothing, without the sections of parts. It is valid.
func Default() Config {
	return Config{
		Interval: time.Second,
		Host:     HostFS{Sysfs: "/sys", Procfs: "/proc"},
		Sensor: Sensor{
			Kind: "powercap", Powercap: "auto", Basis: "package",
			Estimate: Estimate{IdleWatts: 20, MaxWatts: 100}, Hwmon: Hwmon{Enabled: Auto},
		},
		CPUTime:     CPUTime{Source: "auto"},
		Attribution: Attribution{Idle: "shared", IdleWatts: map[string]float64{}},
		Processes:   Processes{Top: 50},
		Libvirt:     Libvirt{Enabled: Auto, URI: "qemu:///system"},
		Tree: Tree{
			Enabled: Auto, Path: "/var/lib/libvirt/scaphandre", Owner: "auto",
			Publish: Publish{Profile: Trusted, Policy: Trusted.policy(), VMs: map[string]VMPublish{}},
		},
		State: State{Run: "/run/scaph", Lib: "/var/lib/scaph"},
		Log:   Log{Level: "info", Format: "text"},
	}
}
