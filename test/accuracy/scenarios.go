package main

import (
	"time"

	"github.com/scaph/scaph/test/accuracy/judge"
	"github.com/scaph/scaph/test/accuracy/machine"
)

// ordinary is a machine of the given number of packages whose counters wrap every dozen seconds.
func ordinary(packages int) machine.Options {
	return machine.Options{
		Packages: packages, CPUs: 4, Homogeneous: true, Storm: 5, Power: 1, Step: time.Second,
		PackageWrap: 1_500_000_000, MemoryWrap: 1_100_000_000,
	}
}

// strict are the bounds on homogeneous load.
var strict = judge.Bounds{VM: 0.01, Processes: 0.01, Unseen: 0.01, Shift: 0.05}
