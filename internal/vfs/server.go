package vfs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Why Serve ended, other than by its context.
var (
	ErrUnmounted = errors.New("tree: unmounted")
	ErrAborted   = errors.New("tree: connection aborted by /sys/fs/fuse/connections; guests that hold it must be restarted")
)

// A Server answers the kernel for one mount.
type Server struct {
	tree    *Tree
	path    string
	procfs  string
	log     *slog.Logger
	device  *device
	init    []byte // the kernel's INIT request, which it sends once in the life of a mount
	handler *fuse.ProtocolServer
	store   *Store // where the mount waits for the next process; nil if nowhere
}

// Requests are small: a page of directory entries is the largest reply, and the kernel insists on room for
// FUSE_MIN_READ_BUFFER = 8192 bytes in a request.
const (
	payload    = 4096
	requestMax = 8192 + payload
	replyMax   = payload + 256

	requestHeader = 40 // struct fuse_in_header: length, opcode, unique, node, …
	nodeOffset    = 16
	replyHeader   = 16 // struct fuse_out_header: length, error, unique
)

// Opcodes that the loop looks at itself (linux/fuse.h).
const (
	opLookup    = 1
	opInit      = 26
	opInterrupt = 36
)

// Mount puts a new mount at the path and answers the kernel's first question, so that the tree is there when
// Serve begins. A stale mount of ours is taken away first; ErrServed if it is not stale.
func Mount(t *Tree, o Options) (*Server, error) {
	device, path, err := mountDevice(o)
	if err != nil {
		return nil, err
	}
	s := newServer(t, o, device, path)
	if err := s.handshake(); err != nil {
		err = errors.Join(err, detach(path), device.close())
		return nil, err
	}
	return s, nil
}

func newServer(t *Tree, o Options, device *device, path string) *Server {
	s := &Server{tree: t, path: path, procfs: o.Procfs, log: o.Log, device: device}
	s.handler = fuse.NewProtocolServer(newFilesystem(t), &fuse.MountOptions{
		Name:               mountSource,
		MaxWrite:           payload, // bounds reads and listings to a page too
		DisableXAttrs:      true,
		DisableReadDirPlus: true,
		// Passing reads through to files of another file system, which are not ours to have, would count as a layer
		// of stacked file systems.
		DisabledCapabilities: fuse.CAP_PASSTHROUGH,
		// Without NO_EXPORT_SUPPORT virtiofsd opens by file handle, and gets ESTALE once the kernel has dropped the
		// inode. ABORT_ERROR tells an abort from an unmount.
		ExtraCapabilities: fuse.CAP_NO_EXPORT_SUPPORT | fuse.CAP_ABORT_ERROR,
		PanicHandler:      s.recovered,
		Logger:            slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	})
	return s
}

// recovered turns a panic of a handler into EIO for the one request. It is a mistake in the program, so the
// first is logged with its stack; a reader may ask a hundred times a second, so the others are counted only.
func (s *Server) recovered(reason any) fuse.Status {
	if s.tree.panics.Add(1) == 1 {
		s.log.Error("the tree failed on a request; it gives EIO for that file from now on, please report this",
			"panic", reason, "stack", string(debug.Stack()))
	}
	return fuse.EIO
}

// handshake answers INIT and keeps it.
func (s *Server) handshake() error {
	in, out := make([]byte, requestMax), make([]byte, replyMax)
	if err := s.device.wait(askedWithin); err != nil {
		return fmt.Errorf("%w: waiting for the kernel's first request", err)
	}
	n, err := s.device.take(in)
	if err != nil {
		return err
	}
	in = in[:n]
	if opcode(in) != opInit {
		return fmt.Errorf("tree: the kernel's first request has %d bytes and is not INIT", n)
	}
	s.init = append([]byte(nil), in...)
	n, status := s.handler.HandleRequest([][]byte{in}, [][]byte{out})
	if !status.Ok() || n == 0 {
		return fmt.Errorf("tree: the kernel's FUSE protocol is not understood: %v", status)
	}
	return s.device.write(out[:n])
}

// Serve answers requests, as soon as something was published, until ctx is done: then those taken are answered,
// no more are taken, and it returns nil. The mount stays, with the requests that come in waiting for a
// successor (see Handover), until Unmount or Close. It returns ErrUnmounted or ErrAborted if the mount came to
// its end. It is called once.
func (s *Server) Serve(ctx context.Context) error {
	select {
	case <-s.tree.filled:
	case <-ctx.Done():
		return nil
	}
	// One reader less than processors: a flood of requests leaves one to the meter's tick.
	readers := min(max(runtime.GOMAXPROCS(0)-1, 1), 4)
	group, ctx := errgroup.WithContext(ctx)
	for range readers {
		group.Go(s.answer)
	}
	group.Go(func() error {
		<-ctx.Done() // also when a reader failed, so that the others end too
		return s.device.stop()
	})
	return group.Wait()
}

// answer takes all requests that there are, answers one, and looks again, until the device is stopped; then it
// answers what it took.
func (s *Server) answer() error {
	in, out := make([]byte, requestMax), make([]byte, replyMax)
	waiting := newQueue()
	for {
		stopped := false
		for !stopped && !waiting.full() {
			n, err := s.device.take(in)
			if errors.Is(err, errNone) {
				break
			}
			stopped = errors.Is(err, errStopped)
			switch {
			case err == nil:
				waiting.add(in[:n])
			case !stopped:
				return err
			}
		}
		r, ok := waiting.next()
		switch {
		case ok:
			if n := s.handle(r.data, out); n > 0 {
				if err := s.device.write(out[:n]); err != nil {
					return err
				}
			}
			waiting.done(r)
		case stopped:
			return nil
		default:
			if err := s.device.wait(0); err != nil {
				return err
			}
		}
	}
}

// goFuseProbe is a name in the root that go-fuse's handler would answer for with a file of its own.
const goFuseProbe = ".go-fuse-epoll-hack"

// handle fills the reply and gives its length, 0 for requests that get none.
func (s *Server) handle(in, out []byte) int {
	root := binary.NativeEndian.Uint64(in[nodeOffset:]) == rootNode
	switch {
	case opcode(in) == opInterrupt:
		// Nothing here waits, so there is nothing to interrupt; the kernel takes ENOSYS for "never ask again".
		return refuse(out, in, unix.ENOSYS)
	case opcode(in) == opLookup && root && string(in[requestHeader:]) == goFuseProbe+"\x00":
		return refuse(out, in, unix.ENOENT)
	}
	n, status := s.handler.HandleRequest([][]byte{in}, [][]byte{out})
	if n == 0 && !status.Ok() {
		return refuse(out, in, unix.EIO) // not understood; without a reply the caller would wait for ever
	}
	return n
}

func opcode(request []byte) uint32 { return binary.NativeEndian.Uint32(request[4:]) }

// refuse writes the reply that is an error.
func refuse(out, request []byte, errno unix.Errno) int {
	binary.NativeEndian.PutUint32(out, replyHeader)
	binary.NativeEndian.PutUint32(out[4:], uint32(-int32(errno)))
	copy(out[8:replyHeader], request[8:16]) // unique
	return replyHeader
}

// Path gives the mount point, absolute and without symlinks.
func (s *Server) Path() string { return s.path }

// Leave is the end of a Server's work, after Serve: a mount that waits in the store for the next process is
// left there, one that nobody could take over is unmounted.
func (s *Server) Leave() error {
	if s.store != nil {
		return s.device.close()
	}
	return s.Unmount()
}

// Unmount ends the mount for good. Guests that hold files of it get ENOTCONN.
func (s *Server) Unmount() error {
	var err error
	if mounted(s.procfs, s.path) {
		err = unmountOne(s.path)
	}
	return errors.Join(err, s.store.Remove(), s.device.close())
}

// Close gives the descriptor up and leaves the mount to whoever else holds it. If nobody does, the mount is
// stale from now on.
func (s *Server) Close() error { return s.device.close() }
