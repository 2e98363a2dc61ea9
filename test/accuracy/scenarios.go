package main

import (
	"slices"
	"time"

	"github.com/scaph/scaph/test/accuracy/judge"
	"github.com/scaph/scaph/test/accuracy/machine"
)

// ordinary is a machine of the given number of packages with homogeneous load, whose counters wrap every
// dozen steps.
func ordinary(packages int) machine.Options {
	return machine.Options{
		Packages: packages, CPUs: 4, Homogeneous: true, Storm: 10, Power: 1, Step: time.Second,
		PackageWrap: 1_500_000_000, MemoryWrap: 1_100_000_000,
	}
}

// strict are the bounds on homogeneous load.
func strict(steps int) judge.Bounds {
	// A scrape that comes late may miss a window; a meter that skips many is not seen enough.
	return judge.Bounds{VM: 0.01, Processes: 0.01, Unseen: 0.01, Shift: 0.02, Windows: steps * 8 / 10}
}

const unjudged = -1

// The scenarios that others refer to.
const (
	twoPackages = "two packages"
	killedOnce  = "killed, one package"
	guestAlone  = "scaph-guest"
)

// scenarios of the acceptance run, or shorter ones. The steps of the acceptance run are enough for what is asked of all seeds
// together; every seed of it has 20 kills, and 100 wraps.
func scenarios(short bool) []scenario {
	steps, kills, wrapping := 60, 20, 90
	if short {
		steps, kills, wrapping = 30, 4, 65
	}
	one := scenario{name: "one package", machine: ordinary(1), steps: steps, bounds: strict(steps)}
	two := scenario{name: twoPackages, machine: ordinary(2), steps: steps, bounds: strict(steps)}

	killed := one
	killed.name, killed.kills = killedOnce, kills
	killed.bounds.Windows = steps / 4 // in the others it was away
	killed.bounds.Shift = unjudged    // each gap is one long window
	// The gap's energy goes by the gap's CPU time, where the truth goes by each step's.
	killed.bounds.VM, killed.bounds.Processes = 0.03, 0.03

	// Which package a thread ran on is known from what each thread has used since the last look, and what each
	// had used then is lost with the meter: the gaps, here a third of the time and more, are split by guess.
	killed2 := killed
	killed2.name, killed2.machine = "killed, two packages", two.machine
	killed2.bounds.VM, killed2.bounds.Processes, killed2.bounds.Unseen = 0.15, 0.15, 0.15

	// So much power that a step is half a range. A package may not draw more than 1 kW, or a
	// meter would rightly take a wrap for a reset.
	wraps := two
	wraps.name, wraps.steps = "wraps", wrapping
	wraps.machine.Power = 8
	wraps.bounds = strict(wraps.steps)

	mixed := two
	mixed.name, mixed.machine.Homogeneous = "mixed classes of work", false
	mixed.bounds.VM, mixed.bounds.Processes, mixed.bounds.Shift = unjudged, unjudged, unjudged

	// What is read a tick later is charged a tick later: sums are exact, shares are not.
	faulty := two
	faulty.name, faulty.faults, faulty.steps = "every fifth read fails", 0.2, 100
	faulty.bounds = judge.Bounds{VM: unjudged, Processes: unjudged, Unseen: unjudged, Shift: unjudged, Apart: true, Errors: faulty.steps}

	guest := scenario{name: guestAlone, machine: ordinary(4), steps: steps, bounds: strict(steps)}
	guest.machine.Guest, guest.machine.CPUs = true, 1 // to a guest each virtual CPU is a package
	return []scenario{one, two, killed, killed2, wraps, mixed, faulty, guest}
}

// examination is the short scenario of that name, in which the oracle and the mutants are judged.
func examination(name string) scenario {
	all := scenarios(true)
	i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
	return all[i] // the names are constants of this file
}
