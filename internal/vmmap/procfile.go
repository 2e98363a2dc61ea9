package vmmap

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/proc"
)

// noUID is the id that the kernel gives to nobody.
const noUID = math.MaxUint32

// gone says that a file of /proc/PID could not be read because the process has ended.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// parseStat reads /proc/PID/stat, proc_pid_stat(5). The name in it may hold anything, parentheses too.
func parseStat(text []byte) (observed, error) {
	open, shut := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || shut < open {
		return observed{}, errors.New("stat without a name")
	}
	var fields [lastField - 2][]byte // from field 3, the state; no more are of use
	n := 0
	for field := range bytes.FieldsSeq(text[shut+1:]) {
		if n == len(fields) {
			break
		}
		fields[n] = field
		n++
	}
	if n <= startTime-3 {
		return observed{}, fmt.Errorf("stat has %d fields after the name", n)
	}
	pid, err1 := strconv.ParseInt(string(bytes.TrimSpace(text[:open])), 10, 32)
	parent, err2 := strconv.ParseInt(string(fields[1]), 10, 32)
	flags, err3 := strconv.ParseUint(string(fields[6]), 10, 64)
	start, err4 := strconv.ParseUint(string(fields[startTime-3]), 10, 64)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return observed{}, err
	}
	return observed{
		ID:     proc.ID{PID: int32(pid), Start: start},
		parent: int32(parent),
		comm:   commOf(text[open+1 : shut]),
		kernel: flags&kernelThread != 0,
		image:  imageOf(fields[startCode-3], fields[startStack-3], fields[argStart-3], fields[argEnd-3]),
	}, nil
}

// Numbers of fields in /proc/PID/stat.
const (
	startTime  = 22
	startCode  = 26
	startStack = 28
	argStart   = 48
	argEnd     = 49
	lastField  = argEnd
)

// imageOf makes one number of addresses that are drawn anew whenever a process executes a program,
// even itself. They are 0 where we have not the right to trace the process, and so is the number.
func imageOf(addresses ...[]byte) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h, seen := uint64(offset), false
	for _, a := range addresses {
		seen = seen || len(a) > 0 && !bytes.Equal(a, []byte("0"))
		for _, digit := range a {
			h = (h ^ uint64(digit)) * prime
		}
		h *= prime
	}
	if !seen {
		return 0
	}
	return h
}

// machineScope finds in /proc/PID/cgroup, cgroups(7), the cgroup that stands for one virtual machine, and gives
// its path up to there; "" if the process is in none. Below it libvirt makes groups of its own (libvirt/emulator,
// vcpu0). The shapes:
//
//	/machine.slice/machine-qemu\x2d1\x2dweb.scope/libvirt/emulator   libvirt with systemd-machined
//	/machine/qemu-1-web.libvirt-qemu/emulator                        libvirt without
//	/qemu.slice/100.scope                                            Proxmox
//
// With cgroup v1 a process may be in it in some hierarchies only; the first that has it counts.
func machineScope(text []byte) string {
	for line := range bytes.Lines(text) {
		_, rest, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(":"))
		_, path, ok := bytes.Cut(rest, []byte(":"))
		// Most processes are in no machine: that costs no memory.
		if !ok || !bytes.Contains(path, []byte("qemu")) {
			continue
		}
		group := string(path)
		parts := strings.Split(group, "/")
		for i := 1; i < len(parts); i++ {
			parent, part := parts[i-1], parts[i]
			if strings.HasPrefix(part, "machine-qemu") && strings.HasSuffix(part, ".scope") ||
				parent == "machine" && strings.HasPrefix(part, "qemu-") ||
				parent == "qemu.slice" && strings.HasSuffix(part, ".scope") {
				return strings.Join(parts[:i+1], "/")
			}
		}
	}
	return ""
}
