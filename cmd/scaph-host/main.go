// Command scaph-host meters a KVM host: it charges the energy that RAPL counts to processes and virtual
// machines, exports it, and serves each virtual machine a meter of its own.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
)

func main() {
	os.Exit(cli.Main(cli.Program{
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
		Serve: serve,
		Commands: func(e *cli.Env) []*cobra.Command {
			return []*cobra.Command{vmsCommand(e), qemuCommand(e), mountCommand(e), unmountCommand(e), checkCommand(e), demoCommand(e)}
		},
	}))
}
