package vmmap

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/proc"
)

const (
	// maxStatus bounds a status document; one with hundreds of devices has some 500 KiB.
	maxStatus = 8 << 20
	// maxPIDFile bounds a pid file: some digits and a newline.
	maxPIDFile = 32
)

// helperFile is how libvirt names the pid file of a helper: the number of the running domain, a short
// form of its name, the device. "1-web-fs0-fs.pid".
var helperFile = regexp.MustCompile(`^([0-9]{1,9})-.+\.pid$`)

// helperDirs are where below the state directory libvirt keeps pid files of helpers.
var helperDirs = []string{"", "swtpm", "passt", "slirp", "dbus"}

// A runtimeDomain is a running domain as libvirt's state directory tells of it. Where only its pid file
// could be read, it has a name and a pid alone.
type runtimeDomain struct {
	Domain
	pid     int32
	written time.Time // when the file was
}

// runtimeState is one look into the state directory.
type runtimeState struct {
	domains []runtimeDomain
	helpers map[int][]int32 // libvirt's number of the domain to process ids
	err     error           // why the rung, or a part of it, cannot be used; nil if it can
}

// runtimeDir reads libvirt's state directory, /run/libvirt/qemu. Status documents are for root alone; pid files
// are not. Documents are read again only when they changed.
type runtimeDir struct {
	path   string
	cache  map[string]cachedStatus
	readAt time.Time
	faults uint64 // cumulative
}

type cachedStatus struct {
	size     int64
	modified time.Time
	domain   runtimeDomain
	err      error
}

// settled is how old a change of a directory must be that a read has met for certain: kernels stamp
// files by the clock tick, and what libvirt creates it writes a moment later.
const settled = time.Second

// moved reports whether a file may have come, gone or changed since the last read. Libvirt puts a new
// document in the place of the old one, and that changes the directory.
func (r *runtimeDir) moved() bool {
	for _, dir := range helperDirs {
		info, err := os.Stat(filepath.Join(r.path, dir))
		if err == nil && info.ModTime().Add(settled).After(r.readAt) {
			return true
		}
	}
	return false
}

func (r *runtimeDir) read() runtimeState {
	r.readAt = time.Now()
	state := runtimeState{helpers: map[int][]int32{}}
	names, err := readNames(r.path)
	if err != nil {
		state.err = explain(err)
		return state
	}
	cache := make(map[string]cachedStatus, len(r.cache))
	documented := map[string]bool{}
	for _, name := range names {
		base, isXML := strings.CutSuffix(name, ".xml")
		if !isXML {
			continue
		}
		status := r.status(name)
		switch {
		case status.err == nil:
			cache[name] = status
			documented[base] = true
			state.domains = append(state.domains, status.domain)
		case errors.Is(status.err, fs.ErrNotExist): // it stopped meanwhile
		case errors.Is(status.err, fs.ErrPermission):
			state.err = explain(status.err)
		default:
			cache[name] = status
			r.faults++
		}
	}
	r.cache = cache
	for _, name := range names {
		base, isPID := strings.CutSuffix(name, ".pid")
		if !isPID || documented[base] {
			continue
		}
		if pid, written, err := readPIDFile(filepath.Join(r.path, name)); err == nil {
			state.domains = append(state.domains, runtimeDomain{Domain{Name: base, State: Running}, pid, written})
		}
	}
	for _, dir := range helperDirs {
		r.readHelpers(filepath.Join(r.path, dir), state.helpers)
	}
	return state
}

// status reads one document, or remembers it.
func (r *runtimeDir) status(name string) cachedStatus {
	path := filepath.Join(r.path, name)
	info, err := os.Stat(path)
	if err != nil {
		return cachedStatus{err: err}
	}
	if !info.Mode().IsRegular() {
		return cachedStatus{err: fmt.Errorf("%s is no regular file", path)}
	}
	known, ok := r.cache[name]
	if ok && known.size == info.Size() && known.modified.Equal(info.ModTime()) {
		return known
	}
	fresh := cachedStatus{size: info.Size(), modified: info.ModTime()}
	var document []byte
	if document, fresh.err = proc.ReadLimited(path, maxStatus); fresh.err == nil {
		fresh.domain.Domain, fresh.domain.pid, fresh.err = parseStatus(document)
		fresh.domain.written = fresh.modified
	}
	return fresh
}

// readHelpers adds the helpers whose pid files are in a directory, which need not exist.
func (r *runtimeDir) readHelpers(dir string, helpers map[int][]int32) {
	names, err := readNames(dir)
	if err != nil {
		return // the machine has no such helpers, or the rung as a whole has said why it is closed
	}
	for _, name := range names {
		match := helperFile.FindStringSubmatch(name)
		if match == nil {
			continue
		}
		id, err := strconv.Atoi(match[1])
		if err != nil || id == 0 {
			continue
		}
		if pid, _, err := readPIDFile(filepath.Join(dir, name)); err == nil {
			helpers[id] = append(helpers[id], pid)
		}
	}
}

// readPIDFile reads a process id, which may end in a newline, and when it was written.
func readPIDFile(path string) (pid int32, written time.Time, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, written, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxPIDFile {
		return 0, written, fmt.Errorf("%s is no pid file", path)
	}
	text, err := proc.ReadLimited(path, maxPIDFile)
	if err != nil {
		return 0, written, err
	}
	pid, err = parsePID(text)
	return pid, info.ModTime(), err
}

func parsePID(text []byte) (int32, error) {
	pid, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 32)
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("%q is no process id", text)
	}
	return int32(pid), nil
}

// explain says what to do about a closed state directory.
func explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (run as root, or with CAP_DAC_READ_SEARCH)", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w (libvirt's qemu driver has not run since boot)", err)
	}
	return err
}
