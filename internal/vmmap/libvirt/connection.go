//go:build cgo && libvirt_dlopen

package libvirt

import (
	"errors"
	"fmt"

	"libvirt.org/go/libvirt"

	"github.com/scaph/scaph/internal/vmmap"
)

const (
	keepaliveSeconds = 5 // between keepalive messages; a connection is dead after
	keepaliveCount   = 3 // of them without an answer
)

// A connection is one to the daemon. All its methods block; nil is a connection that was not made.
type connection struct {
	conn     *libvirt.Connect
	callback int // of lifecycle events
	closed   chan struct{}
}

// dial connects, read-only, and asks for events. announce is called from the event loop and must not block.
func dial(uri string, announce func()) (*connection, error) {
	conn, err := libvirt.NewConnectReadOnly(uri)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", uri, plain(err))
	}
	c := &connection{conn: conn, callback: -1, closed: make(chan struct{}, 1)}
	// What a driver cannot do it says so; then a full listing every minute must do.
	err = conn.SetKeepAlive(keepaliveSeconds, keepaliveCount)
	if err == nil || unsupported(err) {
		err = conn.RegisterCloseCallback(func(*libvirt.Connect, libvirt.ConnectCloseReason) {
			select {
			case c.closed <- struct{}{}:
			default:
			}
		})
	}
	if err == nil || unsupported(err) {
		c.callback, err = conn.DomainEventLifecycleRegister(nil,
			func(*libvirt.Connect, *libvirt.Domain, *libvirt.DomainEventLifecycle) { announce() })
		if err != nil {
			c.callback = -1
		}
	}
	if err != nil && !unsupported(err) {
		c.close()
		return nil, fmt.Errorf("prepare the connection to %s: %w", uri, plain(err))
	}
	return c, nil
}

func unsupported(err error) bool { return errors.Is(err, libvirt.ERR_NO_SUPPORT) }

// plain leaves libvirt's own words of an error, without its numbers.
func plain(err error) error {
	var e libvirt.Error
	if errors.As(err, &e) && e.Message != "" {
		return errors.New(e.Message)
	}
	return err
}

// lost delivers when the connection was closed by the other side, or found dead.
func (c *connection) lost() <-chan struct{} {
	if c == nil {
		return nil
	}
	return c.closed
}

func (c *connection) alive() bool {
	alive, err := c.conn.IsAlive()
	return alive && err == nil
}

// close lets go of everything; on a dead connection the calls fail and free what is ours all the same.
func (c *connection) close() {
	if c == nil {
		return
	}
	if c.callback >= 0 {
		_ = c.conn.DomainEventDeregister(c.callback)
	}
	_ = c.conn.UnregisterCloseCallback()
	_, _ = c.conn.Close()
}

// list asks for all domains: one call for the list, then two short ones for each. Neither
// waits for the qemu of a domain, which may itself hang. It ends early when stop is closed.
func (c *connection) list(stop <-chan struct{}) ([]vmmap.Domain, error) {
	all, err := c.conn.ListAllDomains(libvirt.CONNECT_LIST_DOMAINS_ACTIVE | libvirt.CONNECT_LIST_DOMAINS_INACTIVE)
	if err != nil {
		return nil, fmt.Errorf("list domains: %w", plain(err))
	}
	defer func() {
		for i := range all {
			_ = all[i].Free()
		}
	}()
	domains := make([]vmmap.Domain, 0, len(all))
	for i := range all {
		select {
		case <-stop:
			return nil, errClosed
		default:
		}
		d, err := describe(&all[i])
		switch {
		case err == nil:
			domains = append(domains, d)
		case errors.Is(err, libvirt.ERR_NO_DOMAIN): // removed meanwhile
		case !c.alive():
			return nil, err
		default:
			// One bad domain is no reason to lose the others; what is known of it without asking must do.
			if d.Name != "" && d.UUID != "" {
				domains = append(domains, d)
			}
		}
	}
	return domains, nil
}

// describe reads one domain. With an error it gives what the list itself held.
func describe(d *libvirt.Domain) (vmmap.Domain, error) {
	uuid, err1 := d.GetUUIDString()
	name, err2 := d.GetName()
	known := vmmap.Domain{UUID: uuid, Name: name, State: vmmap.Shutoff}
	if err := errors.Join(err1, err2); err != nil {
		return vmmap.Domain{}, err
	}
	id, err := d.GetID() // fails for one that does not run
	if err == nil {
		known.ID, known.State = int(id), vmmap.Running
	}
	// The document holds title, owner, and the online CPUs: <vcpu current=…>, which for a running domain is its live
	// number. (virDomainGetMaxVcpus gives the most that could be plugged in, not that.)
	document, err := d.GetXMLDesc(0)
	if err != nil {
		return known, fmt.Errorf("describe domain %s: %w", uuid, err)
	}
	described, err := vmmap.ParseDomain([]byte(document))
	if err != nil {
		return known, err
	}
	described.ID, described.State = known.ID, known.State
	if known.State == vmmap.Running {
		state, _, err := d.GetState()
		if err != nil {
			return described, fmt.Errorf("state of domain %s: %w", uuid, err)
		}
		switch state {
		case libvirt.DOMAIN_PAUSED, libvirt.DOMAIN_PMSUSPENDED, libvirt.DOMAIN_CRASHED:
			described.State = vmmap.Paused // a crashed one that still has an id has its process too
		}
	}
	return described, nil
}
