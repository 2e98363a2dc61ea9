// Package proc says what a process is: its identity, what the files of /proc/PID say of it
// (proc(5)), and a table of what is known of all of them. It is the one place that parses these.
//
// Nothing here is believed further than the kernel vouches for it: names and command lines are of
// the processes' own making.
package proc

import (
	"os"
	"path/filepath"
	"strings"
)

// ID names a process unmistakably within one boot: process ids are used again, a pair of id
// and start time is not.
type ID struct {
	PID   int32
	Start uint64 // clock ticks since boot: field 22 of /proc/PID/stat, proc_pid_stat(5)
}

// ClockTick is the unit of times in /proc, in ns. USER_HZ is 100 on every architecture that Go knows.
const ClockTick = 10_000_000

// BootID reads <procfs>/sys/kernel/random/boot_id, random(4); "" where it cannot be read.
func BootID(procfs string) string {
	text, err := os.ReadFile(filepath.Join(procfs, "sys/kernel/random/boot_id"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
