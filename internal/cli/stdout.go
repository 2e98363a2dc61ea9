package cli

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/export/prometheus"
	"github.com/scaph/scaph/internal/export/terminal"
)

func (e *Env) stdoutCommand() *cobra.Command {
	var timeout, step, processes int
	var filter string
	var raw, qemu bool
	cmd := &cobra.Command{
		Use:   "stdout",
		Short: "Show power in the terminal: host, sockets, virtual machines, top consumers",
		Example: fmt.Sprintf(`  # a round every 2 s, for 10 s
  %[1]s stdout
  # for ever, every 5 s, the 20 top consumers whose name begins with qemu
  %[1]s stdout -t -1 -s 5 -p 20 -r '^qemu'`, e.Program.Kind),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := terminal.Options{Rounds: -1, Processes: processes, VMsOnly: qemu}
			if raw {
				o.Raw = prometheus.WriteText
			}
			if step <= 0 {
				return UsageErrorf("--step %d: must be at least 1 second", step)
			}
			if timeout >= 0 {
				o.Rounds = max(1, timeout/step)
			}
			if processes < 0 {
				return UsageErrorf("--processes %d: must not be negative", processes)
			}
			if filter != "" {
				var err error
				if o.Regex, err = regexp.Compile(filter); err != nil {
					return UsageErrorf("--regex-filter: %w", err)
				}
			}
			c, log, err := e.LoadQuiet(cmd)
			if err != nil {
				return err
			}
			c.Interval = time.Duration(step) * time.Second
			a, err := e.Open(cmd.Context(), c, log, app.KeepNothing)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			a.Add(app.Service{Name: "stdout", Run: func(ctx context.Context) error {
				defer cancel() // the last round ends the command
				return terminal.New(a.Meter, cmd.OutOrStdout(), o).Run(ctx)
			}})
			return a.Run(ctx)
		},
	}
	flags := cmd.Flags()
	flags.IntVarP(&timeout, "timeout", "t", 10, "seconds until the command ends; negative: never")
	flags.IntVarP(&step, "step", "s", 2, "seconds between rounds")
	flags.IntVarP(&processes, "processes", "p", 5, "how many consumers are shown")
	flags.StringVarP(&filter, "regex-filter", "r", "", "show only consumers whose name or executable matches")
	flags.BoolVar(&raw, "raw-metrics", false, "every metric, as Prometheus has it, instead of tables")
	flags.BoolVarP(&qemu, "qemu", "q", false, "show virtual machines only")
	return cmd
}
