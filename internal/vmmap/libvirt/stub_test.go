//go:build !(cgo && libvirt_dlopen)

package libvirt

import (
	"errors"
	"log/slog"
	"testing"
)

func TestOpenSaysThatTheBuildHasNoLibvirt(t *testing.T) {
	if _, err := Open("qemu:///system", slog.Default()); !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v", err)
	}
	if _, err := OpenEditor(t.Context(), "qemu:///system", true); !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
