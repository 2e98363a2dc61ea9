package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenAll binds all addresses, or none. Former is a server of this process that is to give way later, nil if there is
// none.
func listenAll(addresses []string, former *Server) (sockets []net.Listener, err error) {
	for _, address := range addresses {
		socket, err := listen(address, addresses, former)
		if err == nil {
			// With a former server the kernel does not refuse it, as it will at the next start.
			i := slices.IndexFunc(sockets, func(other net.Listener) bool { return overlap(socket.Addr(), other.Addr()) })
			sockets = append(sockets, socket)
			if i >= 0 {
				err = fmt.Errorf("it is part of %s, which is listed too; leave one of them out", addresses[i])
			}
		}
		if err != nil {
			for _, s := range sockets {
				_ = s.Close() // the reason why is told
			}
			return nil, fmt.Errorf("web.listen %s: %w", address, err)
		}
	}
	return sockets, nil
}

// overlap reports whether two addresses of TCP have a common one. The unspecified address of IPv6 stands for those of IPv4
// too, ipv6(7).
func overlap(a, b net.Addr) bool {
	x, isTCP := a.(*net.TCPAddr)
	y, isTCPToo := b.(*net.TCPAddr)
	if !isTCP || !isTCPToo || x.Port != y.Port {
		return false
	}
	covers := func(wide, one net.IP) bool {
		return wide.IsUnspecified() && (wide.To4() == nil || one.To4() != nil)
	}
	return x.IP.Equal(y.IP) || covers(x.IP, y.IP) || covers(y.IP, x.IP)
}

// listen binds one of the addresses. At one that the former server has too the two share its socket, so that no
// connection is refused in between, and at one that overlaps with another of its own, as :8080 does with
// 127.0.0.1:8080, both are bound for a while.
func listen(address string, addresses []string, former *Server) (net.Listener, error) {
	if former == nil {
		return bind(address, nil)
	}
	var leaving []net.Listener
	for i, its := range former.options.Listen {
		if its == address {
			return share(former.connections.sockets[i])
		}
		if !slices.Contains(addresses, its) {
			leaving = append(leaving, former.connections.sockets[i])
		}
	}
	if err := reusePort(leaving, true); err != nil {
		return nil, err
	}
	listener, err := bind(address, func(_, _ string, c syscall.RawConn) error { return setReusePort(c, true) })
	if undo := reusePort(leaving, false); undo != nil && err == nil {
		err = errors.Join(undo, listener.Close())
	}
	if err == nil {
		if err = reusePort([]net.Listener{listener}, false); err != nil {
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

func reusePort(sockets []net.Listener, on bool) (err error) {
	for _, l := range sockets {
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			return fmt.Errorf("%s is no TCP socket", l.Addr())
		}
		raw, e := tcp.SyscallConn()
		if e == nil {
			e = setReusePort(raw, on)
		}
		err = errors.Join(err, e)
	}
	return err
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
