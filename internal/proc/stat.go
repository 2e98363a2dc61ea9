package proc

import (
	"bytes"
)

// A Stat is what is used of /proc/PID/stat or /proc/PID/task/TID/stat, proc_pid_stat(5). It shares
// memory with the text that it was parsed from.
type Stat struct {
	ID             // of the thread, in /proc/PID/task
	Comm    []byte // the kernel's name of it, which may hold anything
	Parent  int32
	Kernel  bool // a thread of the kernel
	Threads int
	CPUTime uint64 // utime + stime, ns; each is a whole number of clock ticks, cut off
	CPU     int    // last run on

	fields []byte // what follows the name
}

// pfKthread is PF_KTHREAD of include/linux/sched.h.
const pfKthread = 0x00200000

// KernelThread reports whether the flags of a task (PF_*) are those of a thread of the kernel.
func KernelThread(flags uint64) bool { return flags&pfKthread != 0 }

// Fields of /proc/PID/stat, counted as in the manual page.
const (
	fieldState      = 3
	fieldParent     = 4
	fieldFlags      = 9
	fieldUser       = 14
	fieldSystem     = 15
	fieldThreads    = 20
	fieldStart      = 22
	fieldStartCode  = 26
	fieldStartStack = 28
	fieldCPU        = 39
	fieldArgStart   = 48
	fieldArgEnd     = 49
)

// MaxTicks bounds the times in clock ticks that are believed, 585 years of CPU time, so that ns fit in 64 bits.
const MaxTicks = 1<<64/ClockTick - 1

// ParseStat parses the text of a stat file. The name may hold spaces, parentheses and newlines: it
// ends at the last ')'. Text that does not end in a newline was cut off and is refused, as a number
// at its end could be the beginning of a larger one.
func ParseStat(text []byte) (Stat, bool) {
	var s Stat
	pid, rest, ok := CutNumber(text)
	last := bytes.LastIndexByte(rest, ')')
	if !ok || pid == 0 || pid > 1<<31-1 || last < 2 || rest[0] != ' ' || rest[1] != '(' || rest[len(rest)-1] != '\n' {
		return s, false
	}
	s.PID = int32(pid)
	s.Comm = rest[2:last]
	rest = rest[last+1:]
	s.fields = rest
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
			var after []byte
			n, after, ok = CutNumber(rest[:end])
			if !ok || len(after) != 0 {
				return s, false
			}
		}
		rest = rest[end:]
		switch field {
		case fieldParent:
			s.Parent = int32(min(n, 1<<31-1))
		case fieldFlags:
			s.Kernel = KernelThread(n)
		case fieldUser:
			user = n
		case fieldSystem:
			system = n
		case fieldThreads:
			s.Threads = int(min(n, 1<<31-1))
		case fieldStart:
			s.Start = n
		case fieldCPU:
			s.CPU = int(min(n, 1<<31-1))
		}
	}
	if user > MaxTicks/2 || system > MaxTicks/2 {
		return s, false
	}
	s.CPUTime = (user + system) * ClockTick
	return s, true
}

// Image returns a number that changes whenever the process executes a program, the same one too: it
// is made of addresses that are drawn anew each time. They are 0 where we have not the right to
// trace the process, and so is the number.
func (s *Stat) Image() uint64 {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h, seen := uint64(offset), false
	field := fieldState
	for address := range bytes.FieldsSeq(s.fields) {
		switch field {
		case fieldStartCode, fieldStartStack, fieldArgStart, fieldArgEnd:
			seen = seen || len(address) != 1 || address[0] != '0'
			for _, digit := range address {
				h = (h ^ uint64(digit)) * prime
			}
			h *= prime
		}
		if field++; field > fieldArgEnd {
			break
		}
	}
	if !seen {
		return 0
	}
	return h
}

// Name returns a process's comm as a string: old, where it did not change, so that nothing is
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

// Owner returns the process for which a kernel thread named vhost-<pid> works (drivers/vhost/vhost.c,
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
