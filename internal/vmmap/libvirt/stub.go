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

// An Editor reads and changes definitions of domains. This build has none.
type Editor struct{}

// OpenEditor gives ErrUnsupported.
func OpenEditor(context.Context, string, bool) (*Editor, error) { return nil, ErrUnsupported }

// Close does nothing.
func (*Editor) Close() {}

// QEMU gives ErrUnsupported.
func (*Editor) QEMU() (major, minor int, err error) { return 0, 0, ErrUnsupported }

// List gives ErrUnsupported.
func (*Editor) List() ([]vmmap.Domain, error) { return nil, ErrUnsupported }

// Definition gives ErrUnsupported.
func (*Editor) Definition(string, bool) (string, error) { return "", ErrUnsupported }

// Live gives ErrUnsupported.
func (*Editor) Live(string) (string, error) { return "", ErrUnsupported }

// Define gives ErrUnsupported.
func (*Editor) Define(string) error { return ErrUnsupported }

// Plug gives ErrUnsupported.
func (*Editor) Plug(string, string) error { return ErrUnsupported }

// Unplug gives ErrUnsupported.
func (*Editor) Unplug(string, string) error { return ErrUnsupported }

// Saved gives ErrUnsupported.
func (*Editor) Saved(string) (bool, error) { return false, ErrUnsupported }
