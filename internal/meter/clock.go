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
func (SystemClock) Boot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // not before Linux 2.6.39, and not since
	}
	return time.Duration(ts.Nano())
}
