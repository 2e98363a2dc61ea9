package vfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const fuseDevice = "/dev/fuse"

// A device is an open file of /dev/fuse that belongs to one mount. Any number of goroutines may read and write.
//
// It is not left to the runtime's poller, which reports the poll error of an ended connection in the place of
// the reason: reading tells the reason. A reader that waits takes a thread, and a second
// descriptor wakes all of them for good.
type device struct {
	file    *os.File // keeps fd open; not registered with the runtime's poller
	fd      int      // non-blocking
	wake    *os.File // an eventfd(2), readable once stopped
	wakeFD  int
	stopped atomic.Bool
}

// What take gives instead of a request.
var (
	errNone    = errors.New("no request waits")
	errStopped = errors.New("reading was stopped")
)

// newDevice takes over a descriptor of /dev/fuse.
func newDevice(fd int) (*device, error) {
	// A descriptor that is blocking when os.NewFile sees it is left alone by the runtime's poller.
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("tree: %s: %w", fuseDevice, err)
	}
	d := &device{file: os.NewFile(uintptr(fd), fuseDevice), fd: fd}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err == nil {
		d.wake, d.wakeFD = os.NewFile(uintptr(wake), "eventfd"), wake
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tree: %s: %w", fuseDevice, err), d.close())
	}
	return d, nil
}

// openDevice opens a connection that is not mounted yet.
func openDevice() (*device, error) {
	fd, err := unix.Open(fuseDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("tree: open %s: %w: load the module with `modprobe fuse`", fuseDevice, err)
	case err != nil:
		return nil, fmt.Errorf("tree: open %s: %w: needs root, and the device allowed by the container or unit", fuseDevice, err)
	}
	return newDevice(fd)
}

// take reads one request, if there is one: errNone if not.
func (d *device) take(request []byte) (int, error) {
	for {
		if d.stopped.Load() {
			return 0, errStopped
		}
		n, err := unix.Read(d.fd, request)
		switch {
		case err == nil && n < requestHeader:
			return 0, fmt.Errorf("tree: a request of %d bytes from %s", n, fuseDevice)
		case err == nil:
			return n, nil
		case errors.Is(err, unix.EAGAIN):
			return 0, errNone
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT): // ENOENT: the caller was killed just now
		default:
			return 0, ended(err)
		}
	}
}

// wait returns when there is a request, when the device is stopped or the connection ends, and now and then without a
// reason. A timeout of 0 waits for ever.
func (d *device) wait(timeout time.Duration) error {
	ms := -1
	if timeout > 0 {
		ms = int(timeout.Milliseconds())
	}
	ready := [...]unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}, {Fd: int32(d.wakeFD), Events: unix.POLLIN}}
	switch n, err := unix.Poll(ready[:], ms); {
	case err != nil && !errors.Is(err, unix.EINTR):
		return ended(err)
	case err == nil && n == 0:
		return fmt.Errorf("tree: %s: no request within %v", fuseDevice, timeout)
	}
	return nil
}

// write answers a request. One whose caller did not wait for the answer is no error.
func (d *device) write(reply []byte) error {
	for {
		_, err := unix.Write(d.fd, reply)
		switch {
		case err == nil, errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, unix.EINTR):
			return ended(err)
		}
	}
}

// resend asks the kernel for the requests that were taken and never answered. Kernels before 6.9 give EINVAL.
func (d *device) resend() error {
	const fuseNotifyResend = 7 // linux/fuse.h, FUSE 7.40
	var header [replyHeader]byte
	binary.NativeEndian.PutUint32(header[0:], replyHeader)
	binary.NativeEndian.PutUint32(header[4:], fuseNotifyResend) // unique stays 0: a notification
	return d.write(header[:])
}

// alive tells whether the connection is still mounted and not aborted.
func (d *device) alive() bool {
	poll := []unix.PollFd{{Fd: int32(d.fd)}}
	_, err := unix.Poll(poll, 0)
	return err != nil || poll[0].Revents&unix.POLLERR == 0
}

// stop has take give errStopped from now on, and wait return at once.
func (d *device) stop() error {
	d.stopped.Store(true)
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, err := d.wake.Write(one[:])
	return err
}

// close gives the descriptors up. Nobody may be reading.
func (d *device) close() error {
	err := d.file.Close()
	if d.wake != nil {
		err = errors.Join(err, d.wake.Close())
	}
	return err
}

// ended names the ends that a connection comes to.
func ended(err error) error {
	switch {
	case errors.Is(err, unix.ENODEV):
		return ErrUnmounted
	case errors.Is(err, unix.ECONNABORTED):
		return ErrAborted
	}
	return fmt.Errorf("tree: %s: %w", fuseDevice, err)
}
