//go:build !(cgo && libvirt_dlopen)

package libvirt

import (
	"context"
	"errors"
	"log/slog"

	"github.com/scaph/scaph/internal/vmmap"
)

// ErrUnsupported is what Open gives in a build without libvirt.
var ErrUnsupported = errors.New("built without libvirt support (build tag libvirt_dlopen, with cgo)")

// A Client is one connection to libvirt. This build has none.
type Client struct{}

// Open gives ErrUnsupported.
func Open(string, *slog.Logger) (*Client, error) { return nil, ErrUnsupported }

// List gives ErrUnsupported.
func (*Client) List(context.Context) ([]vmmap.Domain, error) { return nil, ErrUnsupported }

// Changed never delivers.
func (*Client) Changed() <-chan struct{} { return nil }

// Close does nothing.
func (*Client) Close() {}
