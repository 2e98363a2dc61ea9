package main

import (
	"bufio"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"
)

// userHz is the unit of the times in /proc/stat: 1/100 s on every architecture that Go runs on
// (proc_stat(5), USER_HZ).
const userHz = 100

// idleFields are the columns of the cpu line that are not busy time (idle, iowait), and those
// that are contained in others (guest, guest_nice). The first column is user.
var idleFields = map[int]bool{3: true, 4: true, 8: true, 9: true}

// monotonic gives a clock that starts at 0.
func monotonic() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

// machineBusy gives the CPU time that all CPUs together have worked since boot, from the first
// line of /proc/stat. It is 0 where that cannot be read: the plant then draws its floor only.
func machineBusy() time.Duration {
	f, err := os.Open("/proc/stat")
	if err != nil {
		slog.Warn("no utilisation", "error", err)
		return 0
	}
	defer f.Close()
	line, _ := bufio.NewReader(f).ReadString('\n')
	var ticks uint64
	for i, field := range strings.Fields(strings.TrimPrefix(line, "cpu ")) {
		if n, err := strconv.ParseUint(field, 10, 64); err == nil && !idleFields[i] {
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / userHz
}
