package system

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
)

// maxCmdline is how much of the arguments is read, in bytes: a label shows 256, escaped.
const maxCmdline = 512

// readProcesses looks at the processes that have series of their own. CPU time it takes from the Snapshot.
func (c *Collector) readProcesses(ctx context.Context, s *snapshot.Snapshot) {
	before, cpu, cmdlines := c.processes, c.cpu, c.cmdlines
	c.processes = make(map[int32]*series.ProcessUse)
	c.cpu = make(map[int32]time.Duration)
	c.cmdlines = make(map[process]string)
	look := func(id process, kernel bool, used time.Duration) {
		u := &series.ProcessUse{Start: id.start, Exe: id.exe}
		if !readMemoryOf(c.proc(strconv.Itoa(int(id.pid)), "statm"), u) {
			return // it has ended
		}
		known := before[id.pid]
		if known != nil && known.Start != id.start {
			known = nil
		}
		u.IO = c.readIO(ctx, id.pid, known)
		if known != nil {
			u.CPUPercent = c.percent(used-cpu[id.pid], s.Time, c.measured)
		}
		line, ok := cmdlines[id]
		if !ok && !kernel {
			line, ok = c.readCmdline(ctx, id.pid)
		}
		if ok {
			c.cmdlines[id] = line // as it was at first: a label is not to change
		}
		u.Cmdline = line
		c.processes[id.pid], c.cpu[id.pid] = u, used
	}
	for i := range s.Processes {
		if p := &s.Processes[i]; p.Listed && ctx.Err() == nil {
			look(process{pid: p.PID, start: p.Start, exe: p.Exe}, p.Kernel, p.CPU)
		}
	}
	for i := range s.VMs {
		if vm := &s.VMs[i]; vm.PID != 0 && ctx.Err() == nil {
			// The target of a link: no access to the process's memory.
			exe, _ := os.Readlink(c.proc(strconv.Itoa(int(vm.PID)), "exe"))
			look(process{pid: vm.PID, vm: vm.UUID, exe: strings.TrimSuffix(exe, " (deleted)")}, false, vm.CPU)
		}
	}
	c.measured = s.Time
}

// readMemoryOf reads statm, proc_pid_statm(5).
func readMemoryOf(path string, u *series.ProcessUse) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	var pages [2]uint64
	if n, err := fmt.Sscan(string(text), &pages[0], &pages[1]); err != nil || n != len(pages) {
		return false
	}
	size := uint64(os.Getpagesize())
	u.Virtual, u.Resident = pages[0]*size, pages[1]*size
	return true
}

// readIO reads io, proc_pid_io(5); nil where we may not.
func (c *Collector) readIO(ctx context.Context, pid int32, before *series.ProcessUse) *series.ProcessIO {
	path := c.proc(strconv.Itoa(int(pid)), "io")
	text, err := read(ctx, c.ofProcesses, path, func() ([]byte, error) { return os.ReadFile(path) })
	if err != nil {
		return nil
	}
	var io series.ProcessIO
	want := map[string]*uint64{"read_bytes": &io.TotalRead, "write_bytes": &io.TotalWritten}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if to := want[key]; to != nil {
			if *to, err = strconv.ParseUint(strings.TrimSpace(value), 10, 64); err != nil {
				return nil
			}
			delete(want, key)
		}
	}
	if len(want) > 0 {
		return nil
	}
	if before != nil && before.IO != nil {
		io.Read = io.TotalRead - min(io.TotalRead, before.IO.TotalRead)
		io.Written = io.TotalWritten - min(io.TotalWritten, before.IO.TotalWritten)
	}
	return &io
}

// readCmdline reads the arguments of a process, with spaces between them.
func (c *Collector) readCmdline(ctx context.Context, pid int32) (string, bool) {
	path := c.proc(strconv.Itoa(int(pid)), "cmdline")
	text, err := read(ctx, c.ofProcesses, path, func() ([]byte, error) {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return io.ReadAll(io.LimitReader(file, maxCmdline))
	})
	if err != nil {
		return "", false
	}
	return string(bytes.ReplaceAll(bytes.TrimRight(text, "\x00"), []byte{0}, []byte{' '})), true
}
