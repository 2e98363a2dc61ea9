package cputime

import (
	"bytes"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/proc"
)

// CPUs reads /proc/stat: how busy the CPUs of each domain were, and how much of that no process explains.
//
// Unseen time cannot be had from one look alone. Busy time is counted in ticks and cut off per CPU
// and field, process times are cut off too or taken at a slightly different moment, and a thread's
// whole slice is booked where it last ran; in one look the sum of processes exceeds Busy, in the next it is
// the other way round. So the difference is kept as a debt per domain: what is positive is told as
// Unseen and thereby settled, what is negative is carried into the next look, where it cancels the
// opposite error. Over any time the sum of Unseen is then the highest value that the difference
// reached, not the sum of its positive swings. The carry is bounded at carryPerCPU, because tick
// accounting can also err in one direction for good (threads that always sleep when the tick
// comes), and an endless credit would hide for hours what is truly unseen.
type CPUs struct {
	files   proc.Files
	fd      int
	buf     []byte
	domains *Domains

	busy, idle []uint64 // highest readings by CPU number, ns; both 0 where never read
	looks      uint64   // how often the file could be read
	listed     []uint64 // the last of these looks that listed a CPU, by CPU number
	online     []int64  // CPUs read in this look, by domain
	debt       []int64  // ns, by domain: Busy less what processes and Unseen explain
}

// carryPerCPU bounds how far the processes of a domain may run ahead of its Busy time, in ns per
// CPU. A CPU's tick accounting strays by some 50 ms a second at worst (100 coin tosses of 10 ms).
const carryPerCPU = 1_000_000_000

// maxBackwards is how far a reading may fall, in ns, before it is taken as a new start rather than
// the jitter of idle and iowait, which proc_stat(5) warns of: a CPU that was offline begins anew
// on some kernels.
const maxBackwards = 10_000_000_000

// OpenCPUs opens <procfs>/stat.
func OpenCPUs(procfs string, domains *Domains) (*CPUs, error) {
	return openCPUs(proc.Kernel{}, procfs, domains)
}

func openCPUs(files proc.Files, procfs string, domains *Domains) (*CPUs, error) {
	path := filepath.Join(procfs, "stat")
	fd, err := files.Open(unix.AT_FDCWD, append([]byte(path), 0))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &CPUs{
		files:   files,
		fd:      fd,
		buf:     make([]byte, 64<<10),
		domains: domains,
		online:  make([]int64, domains.Len()),
		debt:    make([]int64, domains.Len()),
	}, nil
}

// Sample fills in Busy, Capacity and Unseen; the Processes of s must be complete.
func (c *CPUs) Sample(s *Sample) {
	for i := range s.Processes {
		for domain, delta := range s.Processes[i].Delta {
			c.debt[domain] -= int64(delta)
		}
	}
	text, err := c.read()
	if err != nil {
		s.Faults++
		return
	}
	clear(c.online)
	c.looks++
	s.Faults += parseCPULines(text, func(cpu int, busy, idle uint64) {
		for len(c.busy) <= cpu {
			c.busy = append(c.busy, 0)
			c.idle = append(c.idle, 0)
		}
		for len(c.listed) <= cpu {
			c.listed = append(c.listed, 0)
		}
		if c.listed[cpu] != c.looks-1 { // the file lists only CPUs that are online
			c.domains.CameOnline(cpu)
		}
		c.listed[cpu] = c.looks
		domain := c.domains.OfCPU(cpu)
		c.online[domain]++
		if c.busy[cpu] == 0 && c.idle[cpu] == 0 {
			c.busy[cpu], c.idle[cpu] = busy, idle
			return
		}
		ran := advance(&c.busy[cpu], busy)
		s.Busy[domain] += ran
		s.Capacity[domain] += ran + advance(&c.idle[cpu], idle)
		c.debt[domain] += int64(ran)
	})
	for domain := range c.debt {
		if c.debt[domain] > 0 {
			s.Unseen[domain] = uint64(c.debt[domain])
			c.debt[domain] = 0
		}
		c.debt[domain] = max(c.debt[domain], -carryPerCPU*c.online[domain])
	}
}

// advance moves a reading on and tells by how much. One that fell a little stays where it was until
// it is reached again, so that nothing is counted twice.
func advance(reading *uint64, now uint64) uint64 {
	before := *reading
	switch {
	case now >= before:
		*reading = now
		return now - before
	case before-now > maxBackwards:
		*reading = now
	}
	return 0
}

// read gives the whole file. It is longer than a page, but the kernel makes it up at the first read.
func (c *CPUs) read() ([]byte, error) {
	for n := 0; ; {
		if n == len(c.buf) {
			c.buf = append(c.buf, make([]byte, len(c.buf))...)
		}
		got, err := c.files.Read(c.fd, c.buf[n:], int64(n))
		if err != nil {
			return nil, err
		}
		if got == 0 {
			if n == 0 {
				return nil, proc.ErrMalformed
			}
			return c.buf[:n], nil
		}
		n += got
	}
}

// Baseline adds the readings of the CPUs to b.
func (c *CPUs) Baseline(b *Baseline) { b.Busy, b.Idle = c.busy, c.idle }

// Restore takes the CPUs' readings of an earlier run of the program in the same boot.
func (c *CPUs) Restore(b Baseline) {
	n := min(len(b.Busy), len(b.Idle), maxCPU)
	c.busy = append(c.busy[:0], b.Busy[:n]...)
	c.idle = append(c.idle[:0], b.Idle[:n]...)
}

// Close closes the file.
func (c *CPUs) Close() { c.files.Close(c.fd) }

// parseCPULines calls f with the times in ns of each line cpuN, and tells how many lines could not
// be parsed. A line without a newline was cut off and is one of these.
func parseCPULines(text []byte, f func(cpu int, busy, idle uint64)) (faults int) {
	lines := 0
	for len(text) > 0 {
		var line []byte
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			return faults + 1
		}
		line, text = text[:end], text[end+1:]
		rest, isCPU := bytes.CutPrefix(line, []byte("cpu"))
		if !isCPU {
			break // the lines of the CPUs come first
		}
		if len(rest) > 0 && rest[0] == ' ' {
			lines++
			continue // the sum of all
		}
		cpu, busy, idle, ok := parseCPULine(rest)
		if !ok {
			faults++
			continue
		}
		lines++
		f(cpu, busy, idle)
	}
	if lines == 0 {
		faults++
	}
	return faults
}

// Columns of a line cpuN. What follows (guest, guest_nice) is part of user and nice already.
const (
	columnIdle   = 3
	columnIOWait = 4
	columnSteal  = 7
	columns      = 8
)

// parseCPULine parses what follows "cpu" in a line: the CPU's number and its times in ticks.
func parseCPULine(line []byte) (cpu int, busy, idle uint64, ok bool) {
	number, rest, ok := proc.CutNumber(line)
	if !ok || number >= maxCPU {
		return 0, 0, 0, false
	}
	for column := range columns {
		if len(rest) == 0 && column > columnIdle {
			break // older formats, and those that imitate them, have fewer
		}
		if len(rest) == 0 || rest[0] != ' ' {
			return 0, 0, 0, false
		}
		var ticks uint64
		if ticks, rest, ok = proc.CutNumber(rest[1:]); !ok || ticks > proc.MaxTicks/columns {
			return 0, 0, 0, false
		}
		switch column {
		case columnIdle, columnIOWait:
			idle += ticks * proc.ClockTick
		case columnSteal:
		default:
			busy += ticks * proc.ClockTick
		}
	}
	return int(number), busy, idle, true
}
