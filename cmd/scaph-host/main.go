// Command scaph-host meters a KVM host: it charges the energy that RAPL counts to processes and virtual
// machines, exports it, and serves each virtual machine a meter of its own.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/vfs"
)

func main() {
	os.Exit(run())
}

func run() int {
	h := &host{store: vfs.OpenStore()}
	code := cli.Main(cli.Program{
		Kind:  config.Host,
		Short: "The power meter of virtual machines: host side",
		Long: `scaph-host reads the energy counters of the CPU (RAPL, through powercap), charges every microjoule to a
process or a libvirt virtual machine, exports the result, and serves each virtual machine its own counters
as a powercap-shaped tree that virtiofs or 9p carries into the guest.`,
		Example: `  scaph-host check                 # can it work here, and if not, why
  scaph-host demo                  # see it work, on simulated power, on any machine
  scaph-host stdout                # a table every 2 s
  scaph-host run --config /etc/scaph/scaph-host.yaml`,
		VMs:   openVMs,
		Tree:  h.addTree,
		Check: checkHost,
		Commands: func(e *cli.Env) []*cobra.Command {
			return []*cobra.Command{
				vmsCommand(e), attachCommand(e), detachCommand(e), h.qemuCommand(e), h.demoCommand(e), h.mountCommand(e), unmountCommand(e),
			}
		},
	})
	if err := h.leave(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", config.Host, err)
		code = max(code, cli.ExitFailure)
	}
	return code
}
