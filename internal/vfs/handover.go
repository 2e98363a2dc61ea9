package vfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// treeABI numbers what a mount's kernel side remembers of us: node ids and what INIT agreed on. A process does not
// take over a mount of another number. It changes with the file numbers in layout.go, slotOf, and the
// options given to go-fuse in newServer.
const treeABI = 1

// A Handover is what a process needs to serve a mount that another one made.
type Handover struct {
	Device *os.File // open file of /dev/fuse; as long as somebody holds it, requests wait instead of failing
	State  []byte   // the rest, from Server.Handover
}

// handoverState is the content of Handover.State, as JSON.
type handoverState struct {
	ABI  int    `json:"abi"`
	Path string `json:"path"`
	Init []byte `json:"init"`
}

// Handover gives what a successor needs. The descriptor stays the Server's: it is to be duplicated, by sending or
// by inheriting it, not closed.
func (s *Server) Handover() Handover {
	state, err := json.Marshal(handoverState{ABI: treeABI, Path: s.path, Init: s.init})
	if err != nil {
		panic(err) // an int, a string and bytes can always be written
	}
	return Handover{Device: s.device.file, State: state}
}

// path tells where the mount is, or was; "" if that is not known.
func (h Handover) path() string {
	var state handoverState
	if err := json.Unmarshal(h.State, &state); err != nil || !filepath.IsAbs(state.Path) {
		return ""
	}
	return state.Path
}

// ErrIncompatible says that a mount handed over cannot be taken over by this build, or at this path.
var ErrIncompatible = errors.New("tree: mount handed over does not fit")

// Resume serves a mount that an earlier process made. It closes h.Device, whose place a duplicate takes. The
// error is ErrUnmounted if the mount is no more, ErrIncompatible if another build made it or it is mounted
// elsewhere; the caller then makes a new one.
func Resume(t *Tree, h Handover, o Options) (*Server, error) {
	defer h.Device.Close()
	var state handoverState
	if err := json.Unmarshal(h.State, &state); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIncompatible, err)
	}
	path, err := resolve(o.Path)
	if err != nil {
		return nil, err
	}
	switch {
	case state.ABI != treeABI:
		return nil, fmt.Errorf("%w: its layout has number %d, this program's %d", ErrIncompatible, state.ABI, treeABI)
	case state.Path != path:
		return nil, fmt.Errorf("%w: it is at %s, the tree belongs at %s", ErrIncompatible, state.Path, path)
	case !mounted(o.Procfs, path):
		return nil, fmt.Errorf("%w: %s is not mounted any more", ErrIncompatible, path)
	}

	d, err := adopt(h.Device)
	if err != nil {
		return nil, err
	}
	s := newServer(t, o, d, path)
	s.init = state.Init
	// The kernel got its answer from the first process; this is for our own side of the protocol.
	n, status := s.handler.HandleRequest([][]byte{state.Init}, [][]byte{make([]byte, replyMax)})
	if n == 0 || !status.Ok() {
		return nil, errors.Join(fmt.Errorf("%w: its INIT request is not understood: %v", ErrIncompatible, status), d.close())
	}
	switch err := d.resend(); {
	case err == nil:
	case errors.Is(err, unix.EINVAL):
		o.Log.Warn("this kernel cannot send requests again (Linux 6.9 can): " +
			"reads that were under way if the earlier process was killed wait until their callers are killed too")
	default:
		return nil, errors.Join(err, d.close())
	}
	t.resumes.Add(1)
	return s, nil
}

// duplicate gives another descriptor of the same open file.
func duplicate(f *os.File) (fd int, err error) {
	err = withDescriptor(f, func(own int) (err error) {
		fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("tree: duplicate the descriptor of %s: %w", fuseDevice, err)
	}
	return fd, nil
}

// adopt makes a device of a duplicate of a descriptor; ErrUnmounted if the connection behind it has ended.
func adopt(f *os.File) (*device, error) {
	fd, err := duplicate(f)
	if err != nil {
		return nil, err
	}
	d, err := newDevice(fd)
	if err != nil {
		return nil, err
	}
	if !d.alive() {
		return nil, errors.Join(ErrUnmounted, d.close())
	}
	return d, nil
}
