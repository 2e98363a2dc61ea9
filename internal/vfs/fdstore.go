package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// A Store is the service manager's file descriptor store: what is put there outlives the process and is given
// to the next one (sd_pid_notify_with_fds(3), FileDescriptorStoreMax= in systemd.service(5)).
type Store struct {
	socket string // NOTIFY_SOCKET
	handed map[string]*os.File
}

// Names in the store.
const (
	storedDevice = "scaph-fuse"
	storedState  = "scaph-fuse-state"
)

// storeTimeout bounds the wait for the service manager to have taken a message.
const storeTimeout = 5 * time.Second

// OpenStore takes the descriptors handed to this process, which it clears from the environment, and learns how
// to put more there. It is called once, early. Without a service manager that keeps descriptors, or without
// NOTIFY_SOCKET, the Store is nil, which all its methods take.
func OpenStore() *Store {
	handed := make(map[string]*os.File)
	for _, f := range activation.Files(true) {
		if old := handed[f.Name()]; old != nil {
			old.Close()
		}
		handed[f.Name()] = f
	}
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" && len(handed) == 0 {
		return nil
	}
	return &Store{socket: socket, handed: handed}
}

// Take gives the mount that an earlier process left, once; ok is false if there is none.
func (st *Store) Take() (h Handover, ok bool) {
	if st == nil {
		return Handover{}, false
	}
	device, state := st.handed[storedDevice], st.handed[storedState]
	delete(st.handed, storedDevice)
	delete(st.handed, storedState)
	if device == nil || state == nil {
		closeAll(device, state)
		return Handover{}, false
	}
	defer state.Close()
	// A stored file is one open file for all who ever get it: read at its start, whatever they left as position.
	content, err := io.ReadAll(io.NewSectionReader(state, 0, 1<<16))
	if err != nil {
		device.Close()
		return Handover{}, false
	}
	return Handover{Device: device, State: content}, true
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// Put leaves a mount for the next process, in place of one left before, and waits until the service manager has it.
func (st *Store) Put(h Handover) error {
	if st == nil || st.socket == "" {
		return errNoStore
	}
	fd, err := unix.MemfdCreate(storedState, unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("descriptor store: %w", err)
	}
	state := os.NewFile(uintptr(fd), storedState)
	defer state.Close()
	if _, err := state.Write(h.State); err != nil {
		return fmt.Errorf("descriptor store: %w", err)
	}
	if err := st.Remove(); err != nil {
		return err
	}
	// FDPOLL=0: an aborted connection polls as an error, on which the manager would drop it unasked.
	const store = "FDSTORE=1\nFDPOLL=0\nFDNAME="
	if err := st.send(store+storedState, state); err != nil {
		return err
	}
	if err := st.send(store+storedDevice, h.Device); err != nil {
		return err
	}
	return st.barrier()
}

var errNoStore = errors.New("descriptor store: none here (NOTIFY_SOCKET is not set)")

// Remove takes the mount out of the store.
func (st *Store) Remove() error {
	if st == nil || st.socket == "" {
		return nil
	}
	for _, name := range []string{storedDevice, storedState} {
		if err := st.send("FDSTOREREMOVE=1\nFDNAME="+name, nil); err != nil {
			return err
		}
	}
	return st.barrier()
}

// barrier waits until the service manager has read all that was sent: it closes the descriptor of a BARRIER
// message when it comes to it (sd_notify_barrier(3)). A process that died before would take its messages with
// it.
func (st *Store) barrier() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("descriptor store: %w", err)
	}
	defer r.Close()
	err = st.send("BARRIER=1", w)
	w.Close()
	if err != nil {
		return err
	}
	if err := r.SetReadDeadline(time.Now().Add(storeTimeout)); err != nil {
		return fmt.Errorf("descriptor store: %w", err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("descriptor store: the service manager does not answer: %w", err)
	}
	return nil
}

// send passes one message, with a descriptor or without. An address that begins with "@" is an abstract one.
func (st *Store) send(message string, f *os.File) error {
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("descriptor store: %w", err)
	}
	defer unix.Close(socket)
	to := &unix.SockaddrUnix{Name: st.socket}
	if f == nil {
		err = unix.Sendmsg(socket, []byte(message), nil, to, 0)
	} else {
		err = withDescriptor(f, func(fd int) error {
			return unix.Sendmsg(socket, []byte(message), unix.UnixRights(fd), to, 0)
		})
	}
	if err != nil {
		return fmt.Errorf("descriptor store: %s: %w", st.socket, err)
	}
	return nil
}

// withDescriptor calls do with a file's descriptor. File.Fd would do, but sets the descriptor to blocking.
func withDescriptor(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}
