//go:build cgo && libvirt_dlopen

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"libvirt.org/go/libvirt"

	"github.com/scaph/scaph/internal/vmmap"
)

// connecting is how long OpenEditor waits for the daemon. Calls after that end by keepalive messages.
const connecting = 15 * time.Second

// An Editor reads and changes definitions of domains. It is for a command that ends, and calls libvirt on its caller's
// goroutine.
type Editor struct{ conn *connection }

// OpenEditor connects to uri; only where write is set is it the connection that may change something.
func OpenEditor(ctx context.Context, uri string, write bool) (*Editor, error) {
	if err := startEventLoop(); err != nil {
		return nil, fmt.Errorf("libvirt's client library cannot be used (package libvirt0 or libvirt-libs): %w", plain(err))
	}
	open := libvirt.NewConnectReadOnly
	if write {
		open = libvirt.NewConnect
	}
	type outcome struct {
		conn *libvirt.Connect
		err  error
	}
	done := make(chan outcome, 1)
	go func() { // a stopped daemon never answers, and nothing can end the call
		conn, err := open(uri)
		done <- outcome{conn, err}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, connecting, fmt.Errorf("libvirtd has not answered for %v", connecting))
	defer cancel()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, fmt.Errorf("connect to %s: %w (does `virsh -c %[1]s list` work?)", uri, refusal(o.err))
		}
		err := o.conn.SetKeepAlive(keepaliveSeconds, keepaliveCount)
		if err != nil && !unsupported(err) {
			_, _ = o.conn.Close()
			return nil, fmt.Errorf("prepare the connection to %s: %w", uri, plain(err))
		}
		return &Editor{&connection{conn: o.conn, callback: -1}}, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("connect to %s: %w", uri, context.Cause(ctx))
	}
}

// refusal says what to do where libvirt does not let us.
func refusal(err error) error {
	var e libvirt.Error
	if !errors.As(err, &e) {
		return err
	}
	denied := []libvirt.ErrorNumber{libvirt.ERR_AUTH_UNAVAILABLE, libvirt.ERR_AUTH_CANCELLED, libvirt.ERR_AUTH_FAILED,
		libvirt.ERR_ACCESS_DENIED, libvirt.ERR_OPERATION_DENIED}
	if slices.Contains(denied, e.Code) {
		return fmt.Errorf("%w: run it as root or as a member of the group libvirt, or allow the polkit action org.libvirt.unix.manage", plain(err))
	}
	return plain(err)
}

// Close ends the connection.
func (e *Editor) Close() { e.conn.close() }

// QEMU returns the version of the host's qemu, such as 7.2.
func (e *Editor) QEMU() (major, minor int, err error) {
	v, err := e.conn.conn.GetVersion() // 1000000 × major + 1000 × minor + release
	return int(v / 1_000_000), int(v / 1000 % 1000), plain(err)
}

// List returns all domains.
func (e *Editor) List() ([]vmmap.Domain, error) { return e.conn.list(nil) }

// domain looks one up and does something with it.
func (e *Editor) domain(uuid string, do func(*libvirt.Domain) error) error {
	d, err := e.conn.conn.LookupDomainByUUIDString(uuid)
	if err != nil {
		return plain(err)
	}
	defer func() { _ = d.Free() }()
	return do(d)
}

// Definition returns what a domain is started from next time; a transient one has none, and that is vmmap.ErrTransient. With
// secrets the passwords are in it, without which it must not be defined again; libvirt shows them to a writing connection only.
func (e *Editor) Definition(uuid string, secrets bool) (document string, err error) {
	flags := libvirt.DOMAIN_XML_INACTIVE
	if secrets {
		flags |= libvirt.DOMAIN_XML_SECURE
	}
	err = e.domain(uuid, func(d *libvirt.Domain) error {
		persistent, err := d.IsPersistent()
		if err != nil {
			return plain(err)
		}
		if !persistent {
			return vmmap.ErrTransient
		}
		document, err = d.GetXMLDesc(flags)
		return refusal(err)
	})
	return document, err
}

// Live returns what a domain that runs has now.
func (e *Editor) Live(uuid string) (document string, err error) {
	err = e.domain(uuid, func(d *libvirt.Domain) error {
		document, err = d.GetXMLDesc(0)
		return plain(err)
	})
	return document, err
}

// Define puts a definition in the place of the one of the same UUID.
func (e *Editor) Define(document string) error {
	d, err := e.conn.conn.DomainDefineXML(document)
	if err != nil {
		return refusal(err)
	}
	return d.Free()
}

// Plug adds a device to a domain that runs.
func (e *Editor) Plug(uuid, device string) error {
	return e.domain(uuid, func(d *libvirt.Domain) error {
		return refusal(d.AttachDeviceFlags(device, libvirt.DOMAIN_DEVICE_MODIFY_LIVE))
	})
}

// Unplug asks a domain that runs to give a device back. The guest may take its time, or refuse.
func (e *Editor) Unplug(uuid, device string) error {
	return e.domain(uuid, func(d *libvirt.Domain) error {
		return refusal(d.DetachDeviceFlags(device, libvirt.DOMAIN_DEVICE_MODIFY_LIVE))
	})
}

// Saved reports whether a domain's next start goes on from a saved state.
func (e *Editor) Saved(uuid string) (saved bool, err error) {
	err = e.domain(uuid, func(d *libvirt.Domain) error {
		saved, err = d.HasManagedSaveImage(0)
		return plain(err)
	})
	return saved, err
}
