// Command scaph-guest meters a virtual machine from inside: it reads the machine's own counters, which
// scaph-host serves, charges them to its processes, and exports the result.
package main

import (
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
)

// gcPercent lets the heap grow by half of what is in use before it is collected, where Go's default lets it grow by as
// much again. That saves 7 MB of 13 with 1,000 processes and up to 3 MB of 21 with 10,000; a tick leaves hardly any
// garbage and costs no more CPU time.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" { // else the user knows better
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(cli.Main(cli.Program{
		Kind:  config.Guest,
		Short: "The power meter of virtual machines: guest side",
		Long: `scaph-guest reads this virtual machine's own energy counters, which scaph-host shares with it by virtiofs or
9p, charges them to processes, and exports the result. On bare metal it reads RAPL.`,
		Example: `  scaph-guest mount                # mount the share on /var/scaphandre
  scaph-guest check                # can it work here, and if not, why
  scaph-guest stdout               # a table every 2 s
  scaph-guest prometheus           # http://127.0.0.1:8080/metrics`,
		Commands: func(e *cli.Env) []*cobra.Command {
			return []*cobra.Command{mountCommand(), checkCommand(e)}
		},
	}))
}
