package terminal

import (
	"fmt"
	"io"
	"regexp"

	"github.com/spf13/pflag"

	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/snapshot"
)

// Part is the exporter as the programs know it; raw writes a Snapshot as Prometheus has it.
func Part(raw func(io.Writer, *snapshot.Snapshot) error) export.Part {
	return export.Part{
		Name:    "stdout",
		Summary: "Show power in the terminal: host, sockets, VMs, top consumers",
		Command: export.Command{
			Example: `  # a round every 2 s, for 10 s
  %[1]s stdout
  # for ever, every 5 s, the 20 top consumers whose name begins with qemu
  %[1]s stdout -t -1 -s 5 -p 20 -r '^qemu'`,
			Flags: func(set *pflag.FlagSet) export.Flags { return flags(set, raw) },
		},
	}
}

func flags(set *pflag.FlagSet, raw func(io.Writer, *snapshot.Snapshot) error) export.Flags {
	steps := export.AddSteps(set, 10, 2)
	processes := set.IntP("processes", "p", 5, "how many consumers are shown")
	filter := set.StringP("regex-filter", "r", "", "show only consumers whose name or executable matches")
	asMetrics := set.Bool("raw-metrics", false, "every metric, as Prometheus has it, instead of tables")
	vmsOnly := set.BoolP("qemu", "q", false, "show VMs only")
	var o Options
	var pace export.Pace
	return export.Flags{
		Read: func() (err error) {
			o = Options{Processes: *processes, VMsOnly: *vmsOnly}
			if *asMetrics {
				o.Raw = raw
			}
			if *processes < 0 {
				return fmt.Errorf("--processes %d: must not be negative", *processes)
			}
			if *filter != "" {
				if o.Regex, err = regexp.Compile(*filter); err != nil {
					return fmt.Errorf("--regex-filter: %w", err)
				}
			}
			pace, err = steps.Pace(0)
			return err
		},
		Pace: func() export.Pace { return pace },
		Opener: export.OpenerFunc(func(p export.Program) (*export.Exporter, error) {
			o.Rounds = p.Rounds
			return &export.Exporter{Target: "standard output", Run: New(p.Source, p.Out, o).Run}, nil
		}),
	}
}
