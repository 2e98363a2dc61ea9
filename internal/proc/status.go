package proc

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math"
	"path"
	"strconv"
	"strings"
)

// NoUID is the id that the kernel gives to nobody.
const NoUID = math.MaxUint32

// A Status is what is used of /proc/PID/status, proc_pid_status(5).
type Status struct {
	UID    uint32 // real: who started it, be the program set-user-ID or not
	Nested bool   // it is in a PID namespace below that of the procfs
}

// ParseStatus parses the text of /proc/PID/status; the UID is NoUID with an error.
func ParseStatus(text []byte) (s Status, err error) {
	s.UID = NoUID
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			if fields := bytes.Fields(rest); len(fields) > 0 {
				uid, err := strconv.ParseUint(string(fields[0]), 10, 32)
				if err != nil {
					return s, fmt.Errorf("status: user id %q: %w", fields[0], err)
				}
				s.UID = uint32(uid)
			}
		} else if rest, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			s.Nested = len(bytes.Fields(rest)) > 1
		}
	}
	if s.UID == NoUID {
		return s, errors.New("status has no line that begins with Uid")
	}
	return s, nil
}

// Cgroups iterates over the paths in the text of /proc/PID/cgroup, cgroups(7): one in each
// hierarchy. They share memory with it.
func Cgroups(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for line := range bytes.Lines(text) {
			_, rest, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(":"))
			if _, group, ok := bytes.Cut(rest, []byte(":")); ok && !yield(group) {
				return
			}
		}
	}
}

// SplitCmdline takes the text of /proc/PID/cmdline apart: arguments that end in NUL. One that does
// not end so was cut, by the reader or by its writer, and is left out; then whole is false.
func SplitCmdline(text []byte) (argv []string, whole bool) {
	end := bytes.LastIndexByte(text, 0)
	if end < 0 {
		return nil, len(text) == 0
	}
	return strings.Split(string(text[:end]), "\x00"), end == len(text)-1
}

// Executable returns the path of the program behind a target of /proc/PID/exe, under whatever name
// its file has by now: an upgrade deletes it ("… (deleted)", proc_pid_exe(5)), and rpm renames it
// first ("NAME;5a384735").
func Executable(target string) string {
	target = strings.TrimSuffix(target, " (deleted)")
	base := len(target) - len(path.Base(target))
	i := len(target) - len(";5a384735")
	if i > base && target[i] == ';' && strings.Trim(target[i+1:], "0123456789abcdef") == "" {
		target = target[:i]
	}
	return target
}
