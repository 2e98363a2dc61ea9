package web

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxConnections bounds how many connections there are at a time: some 30 kB each, and far more than there are scrapers.
const maxConnections = 128

// grace is how long a silent connection is left to itself at the end: its request may be on the way.
const grace = 300 * time.Millisecond

// A connections is one listener on several sockets. It bounds how many of its connections are open, and tells those that
// are in a request from the silent ones: whose client has not sent a whole request head, or none since the last answer. A
// silent one is closed without harm: at the end, and, the longest silent first, to make room for another. So neither the
// end nor a scraper ever waits for clients that say nothing. Where all are in requests, the one that is for the longest
// time makes room.
type connections struct {
	sockets  []net.Listener
	accepted chan accepted // closed when no socket accepts any more
	once     sync.Once     // of begin
	quit     chan struct{} // closed when nobody takes what is accepted; see stop
	sources  sync.WaitGroup

	mu   sync.Mutex // guards open
	open map[*connection]struct{}
}

// An accepted is what one socket has.
type accepted struct {
	conn net.Conn
	err  error
}

type connection struct {
	net.Conn
	of *connections

	// Guarded by of.mu.
	busy  bool
	since time.Time // when it became busy or silent
}

func newConnections(sockets []net.Listener) *connections {
	return &connections{
		sockets: sockets, accepted: make(chan accepted), quit: make(chan struct{}), open: make(map[*connection]struct{}),
	}
}

// begin has every socket accept.
func (c *connections) begin() {
	for _, socket := range c.sockets {
		c.sources.Go(func() {
			for {
				conn, err := socket.Accept()
				if errors.Is(err, net.ErrClosed) {
					return
				}
				select {
				case c.accepted <- accepted{conn, err}:
				case <-c.quit:
					if err == nil {
						_ = conn.Close() // nobody is there to answer
					}
					return
				}
			}
		})
	}
	go func() {
		c.sources.Wait()
		close(c.accepted)
	}()
}

// Accept waits for the next connection. When the sockets are closed it returns those that they had accepted, and then
// net.ErrClosed.
func (c *connections) Accept() (net.Conn, error) {
	c.once.Do(c.begin)
	next, ok := <-c.accepted
	if !ok {
		return nil, net.ErrClosed
	}
	raw, err := next.conn, next.err
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= maxConnections {
		var longest *connection
		for k := range c.open {
			if longest == nil || longest.busy && !k.busy || longest.busy == k.busy && k.since.Before(longest.since) {
				longest = k
			}
		}
		c.drop(longest)
	}
	k := &connection{Conn: raw, of: c, since: time.Now()}
	c.open[k] = struct{}{}
	return k, nil
}

// Close gives the addresses up. It may be called again.
func (c *connections) Close() error {
	var err error
	for _, socket := range c.sockets {
		if e := socket.Close(); !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// stop returns when no socket accepts any more. It is called once, after Close, when nobody calls Accept any more.
func (c *connections) stop() {
	close(c.quit)
	c.sources.Wait()
}

// Addr is the first address; see Server.Addrs.
func (c *connections) Addr() net.Addr { return c.sockets[0].Addr() }

// drop closes a connection; mu is held. The server learns of it as of a client that has left.
func (c *connections) drop(k *connection) {
	delete(c.open, k)
	_ = k.Conn.Close() // who is told? the server finds it closed
}

// dropSilent closes the connections that have been silent for a while, and returns how many are left.
func (c *connections) dropSilent(while time.Duration) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.open {
		if !k.busy && time.Since(k.since) >= while {
			c.drop(k)
		}
	}
	return len(c.open)
}

// Close is the server's end of the connection.
func (k *connection) Close() error {
	k.of.mu.Lock()
	delete(k.of.open, k)
	k.of.mu.Unlock()
	return k.Conn.Close()
}

// mark notes whether a request is under way.
func (k *connection) mark(busy bool) {
	k.of.mu.Lock()
	defer k.of.mu.Unlock()
	k.busy, k.since = busy, time.Now()
}

type connectionKey struct{}

// watch has the server tell when a request begins and when its answer is out.
func (c *connections) watch(s *http.Server) {
	handler := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if k, ok := r.Context().Value(connectionKey{}).(*connection); ok {
			k.mark(true)
		}
		handler.ServeHTTP(w, r)
	})
	s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, unwrap(conn))
	}
	s.ConnState = func(conn net.Conn, state http.ConnState) {
		if k := unwrap(conn); k != nil && state == http.StateIdle {
			k.mark(false)
		}
	}
}

// unwrap finds our connection below the server's, nil where it is not ours.
func unwrap(conn net.Conn) *connection {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	k, _ := conn.(*connection)
	return k
}
