package host

import (
	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
)

// Commands are those that only a host has.
func (h *Host) Commands(e *cli.Env) []*cobra.Command {
	return []*cobra.Command{vmsCommand(e), attachCommand(e), detachCommand(e), h.qemuCommand(e), h.mountCommand(e), unmountCommand(e)}
}

// qemuCommand is the tree alone, under the name that scaphandre's users know.
func (h *Host) qemuCommand(e *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "qemu",
		Short: "Serve the tree of meters for virtual machines, and nothing else",
		Long: `Serve the tree of meters for virtual machines (tree.path, by default
/var/lib/libvirt/scaphandre), and nothing else. Each machine's directory is shaped like
/sys/class/powercap, to be shared with its guest by virtiofs or 9p.`,
		Example: "  scaph-host qemu",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.Serve(cmd, cli.Service{
				Keep: app.KeepIfPossible,
				Adjust: func(c *config.Config) {
					c.Tree.Enabled = config.On
					cli.Silent(c)
				},
			})
		},
	}
}
