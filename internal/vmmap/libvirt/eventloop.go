//go:build cgo && libvirt_dlopen

package libvirt

import (
	"sync"
	"time"

	"libvirt.org/go/libvirt"
)

// startEventLoop loads the library and starts libvirt's event loop, once for the whole process. It is package state because
// libvirt's is: the event implementation is registered for the process, before its first connection, and can be neither
// replaced nor taken back. The loop runs for the life of the process, for the library may need it for as
// long as any connection is open, one that hangs included; without a connection it sleeps in poll(2).
var startEventLoop = sync.OnceValue(func() error {
	if err := libvirt.EventRegisterDefaultImpl(); err != nil {
		return err
	}
	go func() {
		for {
			if err := libvirt.EventRunDefaultImpl(); err != nil {
				<-time.After(time.Second) // poll(2) failed: do not spin
			}
		}
	}()
	return nil
})
