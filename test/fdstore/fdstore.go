// Package fdstore stands in for systemd's side of a unit in tests: the notify protocol with its descriptor store
// (sd_notify(3), sd_pid_notify_with_fds(3), sd_notify_barrier(3)), and how descriptors come to the next
// process (sd_listen_fds(3)). It was written after those pages, and shares no code with the product.
package fdstore

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A Store keeps descriptors for a service while it does not run. A message that makes no sense is an error of the test.
type Store struct {
	t      testing.TB
	socket string
	conn   *net.UnixConn
	done   chan struct{}

	mu    sync.Mutex
	held  []stored // as they came, which is how they are passed
	puts  int
	ready chan struct{} // closed by READY=1
}

type stored struct {
	name string
	fd   int
}

// Start listens on a socket in a directory until the test ends. As systemd's, it may be written to by everybody
// who can get there.
func Start(t testing.TB, dir string) *Store {
	t.Helper()
	s := &Store{t: t, socket: filepath.Join(dir, "notify"), done: make(chan struct{}), ready: make(chan struct{})}
	var err error
	if s.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.socket, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.socket, 0o777); err != nil {
		t.Fatal(err)
	}
	go s.receive()
	t.Cleanup(func() {
		_ = s.conn.Close()
		<-s.done
		s.Clear()
	})
	return s
}

// receive takes messages until the socket is closed.
func (s *Store) receive() {
	defer close(s.done)
	text, control := make([]byte, 4096), make([]byte, 256)
	for {
		n, nc, _, _, err := s.conn.ReadMsgUnix(text, control)
		if err != nil {
			return
		}
		s.take(string(text[:n]), descriptors(control[:nc]))
	}
}

func descriptors(control []byte) (all []int) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			all = append(all, fds...)
		}
	}
	return all
}

// take does what one message asks for. Whatever descriptor is not stored is closed: that is what a barrier waits for.
func (s *Store) take(message string, fds []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fields := make(map[string]string)
	for line := range strings.Lines(message) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			fields[key] = value
		}
	}
	name := fields["FDNAME"]
	named := func(d stored) bool { return d.name == name }
	switch {
	case fields["FDSTORE"] == "1" && len(fds) == 1 && name != "" && !slices.ContainsFunc(s.held, named):
		if fields["FDPOLL"] != "0" {
			s.t.Errorf("service manager: %s would be dropped when its connection is aborted", name)
		}
		s.held = append(s.held, stored{name, fds[0]})
		s.puts++
		return
	case fields["FDSTOREREMOVE"] == "1" && len(fds) == 0:
		s.remove(named)
	case fields["BARRIER"] == "1" && len(fds) == 1:
	case fields["READY"] == "1":
		select {
		case <-s.ready:
		default:
			close(s.ready)
		}
	case fields["WATCHDOG"] == "1":
	default:
		s.t.Errorf("service manager: cannot make sense of %q with %d descriptors", message, len(fds))
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

func (s *Store) remove(which func(stored) bool) {
	s.held = slices.DeleteFunc(s.held, func(d stored) bool { return which(d) && unix.Close(d.fd) == nil })
}

// Clear drops all, as systemd before 254 does when the unit is stopped.
func (s *Store) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(func(stored) bool { return true })
}

// Names lists the names of what is in the store, in order.
func (s *Store) Names() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.held {
		names = append(names, d.name)
	}
	slices.Sort(names)
	return names
}

// Puts tells how often something was put into the store.
func (s *Store) Puts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts
}

// Environment is that of a command without the descriptors, which systemd passes to ExecStart= only.
func (s *Store) Environment() []string { return s.environment(os.Environ()) }

func (s *Store) environment(base []string) []string {
	ours := func(e string) bool { return strings.HasPrefix(e, "NOTIFY_SOCKET=") || strings.HasPrefix(e, "LISTEN_") }
	return append(slices.DeleteFunc(slices.Clone(base), ours), "NOTIFY_SOCKET="+s.socket)
}

// Command gives a command for Hand. The process id is not known before there is a process, so it takes a shell to put
// it into LISTEN_PID.
func Command(program string, args ...string) *exec.Cmd {
	return exec.Command("/bin/sh", append([]string{"-c", `export LISTEN_PID=$$; exec "$@"`, "sh", program}, args...)...)
}

// Hand prepares a Command to start as what ExecStart= names: with what is in the store, from descriptor 3 on. These are
// copies, as the store may drop its own as soon as the process runs; started closes them, and is to be called when
// the command was started. Ready is closed when the process says that it is ready.
func (s *Store) Hand(cmd *exec.Cmd) (started func(), ready <-chan struct{}) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = make(chan struct{})
	var names []string
	var copies []*os.File
	for _, d := range s.held {
		fd, err := unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		names = append(names, d.name)
		copies = append(copies, os.NewFile(uintptr(fd), d.name))
	}
	cmd.Env, cmd.ExtraFiles = s.environment(cmd.Environ()), copies
	if len(names) > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	return func() {
		for _, f := range copies {
			_ = f.Close()
		}
	}, s.ready
}
