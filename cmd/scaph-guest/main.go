// Command scaph-guest meters a virtual machine from inside: it reads the machine's own counters, which
// scaph-host serves, charges them to its processes, and exports the result.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/guest"
	"github.com/scaph/scaph/internal/parts"
)

func main() {
	os.Exit(cli.Main(cli.Program{
		Kind:  config.Guest,
		Short: "The power meter of virtual machines: guest side",
		Long: `scaph-guest reads this virtual machine's own energy counters, which scaph-host shares with it by virtiofs or
9p, charges them to processes, and exports the result. On bare metal it reads RAPL.`,
		Example: `  scaph-guest mount                # mount the share on /var/scaphandre
  scaph-guest check                # can it work here, and if not, why
  scaph-guest stdout               # a table every 2 s
  scaph-guest prometheus           # http://127.0.0.1:8080/metrics`,
		Exporters: parts.Exporters(),
		Commands: func(*cli.Env) []*cobra.Command {
			return []*cobra.Command{guest.MountCommand()}
		},
	}))
}
