package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
)

func checkCommand(e *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Say whether the meter can be read here, and how to mend what is missing",
		Long: `Say whether the meter can be read here, and how to mend what is missing.

The exit code is 1 if it cannot: a line says FAIL.`,
		Example: "  scaph-guest check",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := e.Load(cmd, nil)
			if err != nil {
				return err
			}
			what, remedy, err := app.CheckSensor(c, config.Guest, slog.New(slog.DiscardHandler))
			sensor := cli.Finding{Verdict: cli.OK, Part: "sensor", What: what}
			if err != nil {
				sensor = cli.Finding{Verdict: cli.Fail, Part: "sensor", What: what, Mend: remedy}
			}
			return cli.Report(cmd.OutOrStdout(), []cli.Finding{sensor, cli.CheckCPUTime(c)})
		},
	}
}
