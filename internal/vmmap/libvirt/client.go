//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/scaph/scaph/internal/vmmap"
)

const (
	patience = 5 * time.Second       // how long List waits for the daemon; 500 domains take it a fraction of a second
	glance   = 50 * time.Millisecond // how long, while an earlier List still waits for an answer

	firstRetry = time.Second // between attempts to connect, doubled up to
	lastRetry  = 30 * time.Second
)

var (
	errHangs  = fmt.Errorf("libvirtd has not answered for %v", patience)
	errClosed = errors.New("the connection to libvirt was closed by us")
)

// A Client is one long-lived read-only connection to libvirt, made again whenever it is lost.
type Client struct {
	uri      string
	log      *slog.Logger
	requests chan chan answer
	changed  chan struct{}
	hangs    atomic.Bool // a List was given up, and the owner has not come back since
	stop     chan struct{}
	stopped  chan struct{}
}

type answer struct {
	domains []vmmap.Domain
	err     error
}

// Open prepares a connection to uri and begins to make it; an unreachable daemon is no error of Open's. It fails where
// libvirt.so.0 cannot be loaded.
func Open(uri string, log *slog.Logger) (*Client, error) {
	if err := startEventLoop(); err != nil {
		return nil, fmt.Errorf("libvirt's client library cannot be used (package libvirt0 or libvirt-libs): %w", plain(err))
	}
	c := &Client{
		uri:      uri,
		log:      log,
		requests: make(chan chan answer),
		changed:  make(chan struct{}, 1),
		stop:     make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	go c.own()
	return c, nil
}

// Changed delivers after a domain was defined, started, stopped, paused or removed, and after the connection was made.
func (c *Client) Changed() <-chan struct{} { return c.changed }

// announce never blocks: the event loop calls it.
func (c *Client) announce() {
	select {
	case c.changed <- struct{}{}:
	default: // one is waiting already
	}
}

// List gives all domains. It waits for the daemon until ctx ends, at most a few seconds; a listing that comes too late
// is announced on Changed.
func (c *Client) List(ctx context.Context) ([]vmmap.Domain, error) {
	wait := patience
	if c.hangs.Load() {
		wait = glance
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errHangs)
	defer cancel()
	reply := make(chan answer, 1) // so that the owner never waits for us
	select {
	case c.requests <- reply:
		select {
		case got := <-reply:
			return got.domains, got.err
		case <-c.stopped:
			return nil, errClosed
		case <-ctx.Done():
		}
	case <-c.stopped:
		return nil, errClosed
	case <-ctx.Done():
	}
	if err := context.Cause(ctx); !errors.Is(err, errHangs) { // our caller's end
		return nil, fmt.Errorf("libvirtd has not answered yet: %w", err)
	}
	c.hangs.Store(true)
	return nil, errHangs
}

// Close ends the connection. Where the daemon hangs, the owner is left waiting for it: nothing can
// end its call but the daemon, or the end of our process.
func (c *Client) Close() {
	close(c.stop)
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case <-c.stopped:
	case <-wait.C:
		c.log.Warn("libvirtd hangs; its connection is left open", "uri", c.uri)
	}
}

// own is the goroutine that makes all calls.
func (c *Client) own() {
	defer close(c.stopped)
	var conn *connection
	defer func() { conn.close() }()
	retry := time.NewTimer(0) // at once
	defer retry.Stop()
	var failures int
	err := errors.New("not connected yet")
	lose := func(why error) {
		c.log.Warn("the connection to libvirt is lost", "uri", c.uri, "error", why)
		conn.close()
		conn, err = nil, why
		retry.Reset(jitter(firstRetry))
		c.announce() // that the listing is stale
	}
	connect := func() {
		if conn, err = dial(c.uri, c.announce); err != nil {
			if failures == 0 {
				c.log.Warn("libvirt cannot be reached; it is tried again", "uri", c.uri, "error", err)
			}
			retry.Reset(jitter(min(firstRetry<<min(failures, 10), lastRetry)))
			failures++
			return
		}
		failures = 0
		c.log.Info("connected to libvirt", "uri", c.uri)
		c.announce()
	}
	<-retry.C
	connect() // before the first listing is asked for
	for {
		if c.hangs.Swap(false) {
			c.announce() // whoever asked has left; the daemon answers again
		}
		select {
		case <-c.stop:
			return
		case <-retry.C:
			connect()
		case <-conn.lost():
			lose(errors.New("closed by the daemon, or it did not answer keepalive messages"))
		case reply := <-c.requests:
			if conn == nil {
				reply <- answer{err: err}
				continue
			}
			domains, listErr := conn.list(c.stop)
			reply <- answer{domains, listErr}
			if listErr != nil && !conn.alive() {
				lose(listErr)
			}
		}
	}
}

// jitter spreads the attempts of many clients: between half of d and d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
