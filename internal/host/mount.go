package host

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/vfs"
)

// mountCommand is the part of the service that takes root: the unit runs it before the service proper, outside its sandbox.
func (h *Host) mountCommand(e *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "mount",
		Short: "Mount the tree and leave it with the service manager (for the service's unit)",
		Long: `Mount the tree of meters at tree.path and leave it in the service manager's descriptor store, where run finds
it: the service's unit runs this before the service, as root and outside its sandbox, so that the service itself needs
no right to mount, and so that the mount stands where libvirt and qemu see it.

A mount that the store still keeps for an earlier process is left as it is; a stale one is replaced.`,
		Example: "  ExecStartPre=+/usr/bin/nsenter --target 1 --mount -- /usr/bin/scaph-host mount --config /etc/scaph/scaph-host.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Getenv("NOTIFY_SOCKET") == "" {
				return cli.UsageErrorf("mount makes no sense by hand: no service manager would keep what it mounts (NOTIFY_SOCKET is not set); run and qemu mount by themselves")
			}
			c, log, err := e.Load(cmd, nil)
			if err != nil {
				return err
			}
			if c.Tree.Enabled == config.None {
				return h.dropStored(c, log)
			}
			err = h.mountForStore(c, log)
			if err != nil && c.Tree.Enabled == config.Auto {
				log.Warn("there is no tree: guests cannot read their meters", "why", err)
				return nil
			}
			return err
		},
	}
}

// mountForStore mounts the tree and puts it into the store, unless a mount is held there already.
func (h *Host) mountForStore(c config.Config, log *slog.Logger) error {
	if err := amongMountsOfInit(c.Host.Procfs); err != nil {
		return err
	}
	version, _ := cli.Version()
	options := vfs.Options{Path: c.Tree.Path, Procfs: c.Host.Procfs, Log: log}
	server, err := vfs.Mount(vfs.NewTree(version, 0), options)
	if errors.Is(err, vfs.ErrHeld) { // by the store, which gives it to the service itself only
		log.Info("keeping the mount of an earlier process", "path", c.Tree.Path)
		return nil
	}
	if err != nil {
		return err
	}
	if err := h.store.Put(server.Handover()); err != nil {
		return errors.Join(err, server.Unmount())
	}
	log.Info("mounted the tree", "path", server.Path())
	return server.Close()
}

// dropStored lets go of a mount that is kept for the service, which is not to have one any more: its readers would wait for
// ever.
func (h *Host) dropStored(c config.Config, log *slog.Logger) error {
	if err := h.store.Remove(); err != nil {
		return err
	}
	return vfs.Clear(vfs.Options{Path: c.Tree.Path, Procfs: c.Host.Procfs, Log: log})
}

// amongMountsOfInit refuses to mount where nobody would see it. A unit with ProtectSystem=, PrivateTmp= or the like gives
// each of its commands mounts of its own, those with + too.
func amongMountsOfInit(procfs string) error {
	own, err := os.Readlink(filepath.Join(procfs, "self/ns/mnt"))
	if err != nil {
		return fmt.Errorf("tree: our mount namespace: %w", err)
	}
	init, err := os.Readlink(filepath.Join(procfs, "1/ns/mnt"))
	if err != nil {
		return nil //nolint:nilerr // less than full root, in a container: what cannot be told is not refused
	}
	if own != init {
		return errors.New("tree: nobody outside of this unit would see the mount: start it with `nsenter --target 1 --mount --`")
	}
	return nil
}

// unmountCommand is the end of the tree, when the package is removed.
func unmountCommand(e *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "unmount",
		Short: "Unmount the tree for good (for the removal of the package)",
		Long: `Unmount the tree of meters at tree.path for good, whether it is served, in use, stale or mounted several times.
Only mounts of scaph are touched. Guests that have their meter mounted lose it, and must be restarted to have
it again: to restart or upgrade the service, this is not needed.`,
		Example: "  systemctl stop scaph-host && scaph-host unmount",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, log, err := e.Load(cmd, nil)
			if err != nil {
				return err
			}
			n, err := vfs.Unmount(vfs.Options{Path: c.Tree.Path, Procfs: c.Host.Procfs, Log: log})
			what := fmt.Sprintf("took away %d mounts", n)
			switch n {
			case 0:
				what = "nothing of ours is mounted there"
			case 1:
				what = "unmounted"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", c.Tree.Path, what)
			return err
		},
	}
}
