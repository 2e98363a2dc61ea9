package cli

import (
	"os"
	"runtime"
	"runtime/debug"
)

const (
	// gcPercent lets the heap grow by half of what is in use before it is collected, where Go's default lets it grow by
	// as much again. Neither a tick nor a scrape leaves much garbage, so collecting it sooner costs little.
	gcPercent = 50

	// maxProcs bounds on how many CPUs we run at a time. A tick is one thread, and the tree has as many readers at the
	// most; on all the CPUs of a large machine the garbage collector would wake up some dozens of threads for a few MB.
	maxProcs = 4
)

// frugal makes the Go runtime take less of the machine than a program may that has it to itself. What the user
// says in the environment stands.
func frugal() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > maxProcs {
		runtime.GOMAXPROCS(maxProcs)
	}
}
