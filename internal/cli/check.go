package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/state"
	"github.com/scaph/scaph/internal/web"
)

// A Verdict is how one part of a pre-flight check ended.
type Verdict string

// The verdicts. Only Fail keeps the service from working.
const (
	OK   Verdict = "ok"
	Note Verdict = "note" // something is missing that the service can do without
	Fail Verdict = "FAIL"
)

// A Finding is one line of a pre-flight check.
type Finding struct {
	Verdict Verdict
	Part    string // sensor, CPU time, …
	What    string // was found
	Hint    string // what to do about it, "" where nothing is to be done
}

func (e *Env) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Say whether the service could work here, and how to fix what is missing",
		Long: `Say whether the service could work here, and how to fix what is missing. Each part is opened as run opens it.

The exit code is 1 if the service could not work: a line says FAIL. Lines that say note name what it can
do without.`,
		Example: fmt.Sprintf("  %[1]s check --config /etc/scaph/%[1]s.yaml", e.Program.Kind),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := e.Load(cmd, nil)
			if err != nil {
				return err
			}
			return report(cmd.OutOrStdout(), e.check(cmd.Context(), c))
		},
	}
}

// check opens everything that run opens, part by part, so that all that is wrong is found.
func (e *Env) check(ctx context.Context, c config.Config) []Finding {
	running, stateErr := app.CheckState(c)
	findings := []Finding{checkSensor(c, e.Program.Kind)}
	if app.WantsHwmon(c, e.Program.Kind) {
		findings = append(findings, checkHwmon(c))
	}
	findings = append(findings, checkCPUTime(c))
	if e.Program.Check != nil {
		findings = append(findings, e.Program.Check(ctx, c, running != nil)...)
	}
	findings = append(findings, checkState(c, running, stateErr))
	exporters, pages := e.checkExporters(c)
	findings = append(findings, exporters...)
	return append(findings, e.checkWeb(c, pages, running)...)
}

// report writes the findings, and returns Failed if the service could not work.
func report(w io.Writer, findings []Finding) error {
	failed := false
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%-4s  %-12s %s\n", f.Verdict, f.Part, f.What)
		if f.Hint != "" {
			fmt.Fprintf(&b, "%19s-> %s\n", "", f.Hint)
		}
		failed = failed || f.Verdict == Fail
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if failed {
		return Failed
	}
	return nil
}

func checkSensor(c config.Config, program config.Program) Finding {
	what, hint, err := app.CheckSensor(c, program, slog.New(slog.DiscardHandler))
	f := Finding{Verdict: OK, Part: "sensor", What: what, Hint: hint}
	switch {
	case err != nil:
		f.Verdict = Fail
	case hint != "":
		f.Verdict = Note
	}
	return f
}

func checkHwmon(c config.Config) Finding {
	what, ok := app.CheckHwmon(c, slog.New(slog.DiscardHandler))
	if !ok {
		return Finding{Verdict: Fail, Part: "hwmon", What: what, Hint: "load the driver of the device, or set sensor.hwmon.enabled to auto"}
	}
	return Finding{Verdict: OK, Part: "hwmon", What: what}
}

func checkCPUTime(c config.Config) Finding {
	what, note, err := app.CheckCPUTime(c)
	switch {
	case err != nil:
		return Finding{Verdict: Fail, Part: "CPU time", What: err.Error(), Hint: note}
	case note != "":
		return Finding{Verdict: Note, Part: "CPU time", What: what, Hint: note}
	}
	return Finding{Verdict: OK, Part: "CPU time", What: what}
}

func checkState(c config.Config, running *state.LockedError, err error) Finding {
	switch {
	case err != nil:
		return Finding{Verdict: Fail, Part: "state", What: err.Error(), Hint: "run as root, or set state.run and state.lib to directories of our own"}
	case running != nil:
		return Finding{Verdict: OK, Part: "state", What: running.Error()}
	}
	return Finding{Verdict: OK, Part: "state", What: c.State.Run + " and " + c.State.Lib + " can be written"}
}

// checkExporters opens each exporter that is enabled, and returns the pages that they want served.
func (e *Env) checkExporters(c config.Config) (findings []Finding, pages []web.Page) {
	parts, sections := e.enabled(c)
	for i, part := range parts {
		x, err := sections[i].Open(e.program(part.Name, c, unmeasured{}, slog.New(slog.DiscardHandler), nil))
		if err == nil && x.Close != nil {
			err = x.Close()
		}
		if err != nil {
			findings = append(findings, Finding{Verdict: Fail, Part: part.Name, What: err.Error()})
			continue
		}
		findings = append(findings, Finding{Verdict: OK, Part: part.Name, What: "exports to " + x.Target})
		pages = append(pages, x.Pages...)
	}
	return findings, pages
}

// checkWeb opens the server at each of its addresses. One that the running service has is as good as free.
func (e *Env) checkWeb(c config.Config, pages []web.Page, running *state.LockedError) (findings []Finding) {
	server := section[*web.Config](c, webSection)
	if len(server.Listen) == 0 {
		f := Finding{Verdict: OK, Part: webSection, What: "nothing is served over HTTP"}
		if len(pages) > 0 {
			f.Verdict, f.Hint = Note, "web.listen is empty, and exporters have pages to be served: give it an address"
		}
		return []Finding{f}
	}
	for _, address := range server.Listen {
		one := *server
		one.Listen = []string{address}
		opened, err := e.listen(one, unmeasured{}, slog.New(slog.DiscardHandler), pages, nil)
		f := Finding{Verdict: OK, Part: webSection, What: address + " is free"}
		switch {
		case err == nil:
			_ = opened.Close()
		case running != nil && errors.Is(err, syscall.EADDRINUSE) && listens(c.Host.Procfs, running.PID, address):
			f.What = fmt.Sprintf("%s is the running service's (pid %d)", address, running.PID)
		default:
			f.Verdict, f.What = Fail, err.Error()
		}
		findings = append(findings, f)
	}
	return findings
}

// unmeasured is a source of Snapshots before the first tick.
type unmeasured struct{}

// Latest is nil: there is none.
func (unmeasured) Latest() *snapshot.Snapshot { return nil }

// Next waits until ctx is done.
func (unmeasured) Next(ctx context.Context, _ uint64) *snapshot.Snapshot {
	<-ctx.Done()
	return nil
}
