package app

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Linked are the mappings of the program and of the libraries that it was linked with at its start, which are never
// unloaded.
//
// A program has every page mapped that it ever ran, and a service of a hundred libraries runs most of them just once, to
// link and to start. Such pages are clean: the kernel can restore them from their files, and maps those that are needed
// again when they are touched. Once dropped, the others no longer count as in use, and go first where memory is short.
// With the garbage of starting that is half of what the service has at rest.
type Linked []mapping

// FindLinked is called before anything else is begun: what is loaded later may be unloaded, and leave its place to memory
// that cannot be restored.
func FindLinked(log *slog.Logger) Linked {
	file, err := os.Open("/proc/self/smaps")
	if err != nil {
		log.Debug("it is not known what the program has mapped", "error", err)
		return nil
	}
	defer file.Close()
	mappings, err := cleanMappings(file)
	if err != nil {
		log.Debug("it is not known what the program has mapped", "error", err)
	}
	return mappings
}

// Drop lets go of their pages.
func (l Linked) Drop(log *slog.Logger) {
	for _, m := range l {
		if err := m.drop(); err != nil {
			log.Debug("pages of the program stay mapped", "path", m.path, "error", err)
		}
	}
}

// dropStarted returns, when the first Snapshot is there, what starting took: the garbage of reading the kernel's types, and
// the pages of what ran to get there.
func (a *App) dropStarted(ctx context.Context) error {
	if a.Meter.Next(ctx, 0) != nil {
		debug.FreeOSMemory()
		a.linked.Drop(a.Log)
	}
	return nil
}

// A mapping is a range of addresses with the content of a file.
type mapping struct {
	start, end uint64
	path       string
}

// drop is madvise(2). It fails with EINVAL for memory that the user has locked.
func (m mapping) drop() error {
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(m.start), uintptr(m.end-m.start), unix.MADV_DONTNEED); errno != 0 {
		return errno
	}
	return nil
}

// cleanMappings finds in /proc/PID/smaps, proc_pid_smaps(5), the private mappings of files that cannot be written and have
// no page that differs from the file's.
func cleanMappings(smaps io.Reader) ([]mapping, error) {
	var clean []mapping
	var current mapping
	restorable := false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 5 && len(fields[1]) == 4: // START-END permissions offset device inode path
			current, restorable = parseRange(fields[0])
			current.path = strings.Join(fields[5:], " ")
			restorable = restorable && strings.HasPrefix(current.path, "/") &&
				strings.HasPrefix(fields[1], "r-") && strings.HasSuffix(fields[1], "p")
		case restorable && len(fields) == 3 && fields[0] == "Anonymous:" && fields[1] == "0":
			clean = append(clean, current)
		}
	}
	return clean, lines.Err()
}

// parseRange reads START-END in hexadecimal.
func parseRange(text string) (m mapping, ok bool) {
	start, end, _ := strings.Cut(text, "-")
	var err1, err2 error
	m.start, err1 = strconv.ParseUint(start, 16, 64)
	m.end, err2 = strconv.ParseUint(end, 16, 64)
	return m, err1 == nil && err2 == nil && m.start < m.end
}
