package cputime

import (
	"bytes"

	"github.com/scaph/scaph/internal/proc"
)

// stat is what is used of /proc/PID/stat, proc_pid_stat(5).
type stat struct {
	comm    []byte // shares memory with the text
	parent  int32
	kernel  bool
	threads int
	total   uint64 // utime + stime, ns; each is a whole number of ticks, cut off
	start   uint64 // clock ticks since boot
	cpu     int    // last run on
}

// pfKthread is PF_KTHREAD of include/linux/sched.h.
const pfKthread = 0x00200000

// Fields of /proc/PID/stat, counted as in the manual page.
const (
	fieldState   = 3
	fieldParent  = 4
	fieldFlags   = 9
	fieldUser    = 14
	fieldSystem  = 15
	fieldThreads = 20
	fieldStart   = 22
	fieldCPU     = 39
)

// maxTicks bounds the times that are believed, 585 years of CPU time, so that ns fit in 64 bits.
const maxTicks = 1<<64/proc.ClockTick - 1

// parseStat parses the text of /proc/PID/stat or /proc/PID/task/TID/stat. The name may hold spaces,
// parentheses and newlines: it ends at the last ')'. Text that does not end in a newline was cut off
// and is refused, as a number at its end could be the beginning of a larger one.
func parseStat(text []byte) (stat, bool) {
	var s stat
	first := bytes.IndexByte(text, '(')
	last := bytes.LastIndexByte(text, ')')
	if first < 0 || last < first || text[len(text)-1] != '\n' {
		return s, false
	}
	s.comm = text[first+1 : last]
	rest := text[last+1:]
	var user, system uint64
	for field := fieldState; field <= fieldCPU; field++ {
		if len(rest) < 2 || rest[0] != ' ' {
			return s, false
		}
		rest = rest[1:]
		end := 0
		for end < len(rest) && rest[end] > ' ' {
			end++
		}
		var n uint64
		switch field {
		case fieldParent, fieldFlags, fieldUser, fieldSystem, fieldThreads, fieldStart, fieldCPU:
			var ok bool
			var after []byte
			n, after, ok = cutNumber(rest[:end])
			if !ok || len(after) != 0 {
				return s, false
			}
		}
		rest = rest[end:]
		switch field {
		case fieldParent:
			s.parent = int32(min(n, 1<<31-1))
		case fieldFlags:
			s.kernel = n&pfKthread != 0
		case fieldUser:
			user = n
		case fieldSystem:
			system = n
		case fieldThreads:
			s.threads = int(min(n, 1<<31-1))
		case fieldStart:
			s.start = n
		case fieldCPU:
			s.cpu = int(min(n, maxCPU))
		}
	}
	if user > maxTicks/2 || system > maxTicks/2 {
		return s, false
	}
	s.total = (user + system) * proc.ClockTick
	return s, true
}

// Name gives a process's comm as a string: old, where it did not change, so that nothing is
// allocated. Workers of the kernel append what they work on at the moment ("kworker/0:1-events");
// that part is cut off.
func Name(old string, comm []byte, kernel bool) string {
	if kernel && bytes.HasPrefix(comm, []byte("kworker/")) {
		if colon := bytes.IndexByte(comm, ':'); colon >= 0 {
			if task := bytes.IndexAny(comm[colon:], "-+"); task >= 0 {
				comm = comm[:colon+task]
			}
		}
	}
	if string(comm) == old {
		return old
	}
	return string(comm)
}

// Owner gives the process for which a kernel thread named vhost-<pid> works (drivers/vhost/vhost.c,
// before Linux 6.4), and 0 for other names. Nobody but the kernel is asked: a process of any user
// may call itself vhost-1, so the caller looks first whether it is a kernel thread.
func Owner(comm string) int32 {
	const prefix = "vhost-"
	if len(comm) <= len(prefix) || comm[:len(prefix)] != prefix {
		return 0
	}
	owner := 0
	for _, c := range []byte(comm[len(prefix):]) {
		if c < '0' || c > '9' || owner > (1<<31-1)/10-1 {
			return 0
		}
		owner = owner*10 + int(c-'0')
	}
	return int32(owner)
}
