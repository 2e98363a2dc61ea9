package meter

import (
	"time"

	"golang.org/x/sys/unix"
)

// SystemClock is the machine's own.
type SystemClock struct{}

// Now is the wall clock.
func (SystemClock) Now() time.Time { return time.Now() }

// Boot is CLOCK_BOOTTIME (clock_gettime(2)): it goes on while the machine is suspended, and is the
// same for every process until the next boot, so it can be kept across a restart.
func (SystemClock) Boot() time.Duration { return clock(unix.CLOCK_BOOTTIME) }

// Asleep is CLOCK_BOOTTIME less CLOCK_MONOTONIC, which stands still while the machine is suspended. Like Boot it is the
// same for every process until the next boot. The two are read one after the other, so it wavers by as much.
func (SystemClock) Asleep() time.Duration {
	return clock(unix.CLOCK_BOOTTIME) - clock(unix.CLOCK_MONOTONIC)
}

func clock(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0 // not before Linux 2.6.39, and not since
	}
	return time.Duration(ts.Nano())
}
