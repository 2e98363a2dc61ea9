// Package guest is what only the agent in a VM has: how it comes to its meter.
package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/app"
)

// MountCommand mounts the share.
func MountCommand() *cobra.Command {
	var tag string
	cmd := &cobra.Command{
		Use:   "mount [DIRECTORY]",
		Short: "Mount this virtual machine's meter: by virtiofs, else by 9p",
		Long: fmt.Sprintf(`Mount this virtual machine's meter, which its host shares, read-only on a directory (default %s), by
virtiofs or else by 9p, whichever the host offers under the tag. It does nothing where the meter is mounted
already. It needs root.`, app.GuestTree),
		Example: "  scaph-guest mount\n  scaph-guest mount --tag scaphandre /mnt/meter",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := app.GuestTree
			if len(args) > 0 {
				dir = args[0]
			}
			how, err := mount(cmd.Context(), dir, tag)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: the meter is there, by %s\n", dir, how)
			return nil
		},
	}
	cmd.Flags().StringVar(&tag, "tag", "scaphandre", "the share's tag, as in the domain's <target dir=…>")
	return cmd
}

// A transport is a way for a host's directory into a guest.
type transport struct {
	fstype  string
	options string
	modules []string
}

// Neither caches: a counter must be fresh at every read. msize is far above what a counter needs.
var transports = []transport{
	{fstype: "virtiofs", modules: []string{"virtiofs"}},
	{fstype: "9p", options: "trans=virtio,version=9p2000.L,cache=none,msize=65536", modules: []string{"9pnet_virtio", "9p"}},
}

// mount mounts the share of the tag on dir and tells by which transport.
func mount(ctx context.Context, dir, tag string) (string, error) {
	if zones, err := filepath.Glob(filepath.Join(dir, "intel-rapl*")); err == nil && len(zones) > 0 {
		return "an earlier mount", nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the mount point: %w", err)
	}
	var all error
	for _, t := range transports {
		err := t.mount(ctx, dir, tag)
		if err == nil {
			return t.fstype, nil
		}
		all = errors.Join(all, err)
	}
	return "", fmt.Errorf("the meter cannot be mounted on %s:\n%w\nShare it with this machine first: on the host, its domain needs a "+
		"<filesystem> whose <target dir> is %q", dir, all, tag)
}

func (t transport) mount(ctx context.Context, dir, tag string) error {
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err := unix.Mount(tag, dir, t.fstype, flags, t.options)
	if errors.Is(err, unix.ENODEV) { // the kernel does not know the file system, yet
		for _, module := range t.modules {
			if out, err := exec.CommandContext(ctx, "modprobe", module).CombinedOutput(); err != nil {
				return fmt.Errorf("  %s: the kernel has no module %s: %s", t.fstype, module, strings.TrimSpace(string(out)))
			}
		}
		err = unix.Mount(tag, dir, t.fstype, flags, t.options)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("  %s: %w: run it as root", t.fstype, err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("  %s: the host offers no share with the tag %q", t.fstype, tag)
	}
	return fmt.Errorf("  %s: %w", t.fstype, err)
}
