package prometheus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// listen binds an address. Former is a server of this process that is to give way later, nil if there is none: at the same
// address the two share its socket, so that no connection is refused in between, and at one that overlaps with its own, as
// :8080 does with 127.0.0.1:8080, both are bound for a while.
func listen(address string, former *Server) (net.Listener, error) {
	if former == nil {
		return bind(address, nil)
	}
	if former.options.Listen == address {
		return share(former.socket)
	}
	if err := reusePort(former.socket, true); err != nil {
		return nil, err
	}
	listener, err := bind(address, func(_, _ string, c syscall.RawConn) error { return setReusePort(c, true) })
	if undo := reusePort(former.socket, false); undo != nil && err == nil {
		err = errors.Join(undo, listener.Close())
	}
	if err == nil {
		if err = reusePort(listener, false); err != nil {
			_ = listener.Close()
		}
	}
	return listener, err
}

func bind(address string, control func(string, string, syscall.RawConn) error) (net.Listener, error) {
	config := net.ListenConfig{Control: control}
	listener, err := config.Listen(context.Background(), "tcp", address)
	switch {
	case err == nil:
		return listener, nil
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("%w; stop what uses the address, or choose another one", err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%w; the address is none of this host's (see `ip address`): for all of them leave it out, as in :8080", err)
	case errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("%w; choose a port above 1023", err)
	}
	return nil, err
}

// share returns another listener on the same socket. Each is closed on its own.
func share(l net.Listener) (net.Listener, error) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("%s is no TCP socket", l.Addr())
	}
	file, err := tcp.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return net.FileListener(file)
}

func reusePort(l net.Listener, on bool) error {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return fmt.Errorf("%s is no TCP socket", l.Addr())
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	return setReusePort(raw, on)
}

// setReusePort sets SO_REUSEPORT, socket(7).
func setReusePort(c syscall.RawConn, on bool) error {
	value := 0
	if on {
		value = 1
	}
	var inner error
	err := c.Control(func(fd uintptr) { inner = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, value) })
	return errors.Join(err, inner)
}
