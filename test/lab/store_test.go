//go:build lab

package lab

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A store is the part of a service manager that keeps file descriptors for a service while it does not
// run: sd_notify's FDSTORE, FDSTOREREMOVE and BARRIER (sd_notify(3), sd_notify_barrier(3)), and
// LISTEN_FDS at the next start (sd_listen_fds(3)).
type store struct {
	path string
	conn *net.UnixConn
	done chan struct{}

	mu   sync.Mutex // over held
	held []stored
}

type stored struct {
	name string
	file *os.File
}

func startStore(t *testing.T) *store {
	t.Helper()
	s := &store{path: filepath.Join(built.logs, "notify"), done: make(chan struct{})}
	var err error
	if s.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	go s.serve()
	t.Cleanup(func() {
		_ = s.conn.Close()
		<-s.done
		s.remove("")
	})
	return s
}

// serve takes messages until the socket is closed.
func (s *store) serve() {
	defer close(s.done)
	text, control := make([]byte, 4096), make([]byte, 1024)
	for {
		n, nc, _, _, err := s.conn.ReadMsgUnix(text, control)
		if err != nil {
			return
		}
		s.take(string(text[:n]), descriptors(control[:nc]))
	}
}

func descriptors(control []byte) []int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	var all []int
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			all = append(all, fds...)
		}
	}
	return all
}

// take does what one message asks for. Whatever descriptor is not stored is closed: that is what a
// barrier waits for.
func (s *store) take(message string, fds []int) {
	fields := map[string]string{}
	for line := range strings.Lines(message) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		fields[key] = value
	}
	name := fields["FDNAME"]
	if name == "" {
		name = "stored"
	}
	switch {
	case fields["FDSTORE"] == "1":
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			s.held = append(s.held, stored{name, os.NewFile(uintptr(fd), name)})
		}
		return
	case fields["FDSTOREREMOVE"] == "1":
		s.remove(name)
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// remove drops what is stored under a name; everything for an empty one.
func (s *store) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rest []stored
	for _, one := range s.held {
		if name == "" || one.name == name {
			_ = one.file.Close()
		} else {
			rest = append(rest, one)
		}
	}
	s.held = rest
}

// hand gives what the next start of the service gets: environment, and descriptors from 3 on.
// LISTEN_PID is missing: only the new process can know it.
func (s *store) hand() (environment []string, files []*os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, one := range s.held {
		names = append(names, one.name)
		files = append(files, one.file)
	}
	environment = []string{"NOTIFY_SOCKET=" + s.path}
	if len(files) > 0 {
		environment = append(environment, fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	return environment, files
}
