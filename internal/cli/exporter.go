package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/web"
)

// sections are those of the configuration that parts bring, with their defaults.
func (e *Env) sections() []config.Section {
	sections := []config.Section{{Name: webSection, Values: web.Default()}}
	for _, part := range e.Program.Exporters {
		if part.Section != nil {
			sections = append(sections, config.Section{Name: part.Name, Values: part.Section()})
		}
	}
	return sections
}

// section returns the section of the configuration that a part brought; the zero value where it brought none.
func section[T any](c config.Config, name string) (values T) {
	for _, s := range c.Sections {
		if s.Name == name {
			values, _ = s.Values.(T)
		}
	}
	return values
}

// enabled lists the exporters that the configuration enables, with their sections.
func (e *Env) enabled(c config.Config) (parts []export.Part, sections []export.Section) {
	for _, part := range e.Program.Exporters {
		if s := section[export.Section](c, part.Name); s != nil && s.On() {
			parts, sections = append(parts, part), append(sections, s)
		}
	}
	return parts, sections
}

// program is what an exporter is given.
func (e *Env) program(name string, c config.Config, source export.Source, log *slog.Logger, tree export.TreeCounters) export.Program {
	version, revision := Version()
	return export.Program{
		Name: string(e.Program.Kind), Version: version, Revision: revision,
		Procfs: c.Host.Procfs, Sysfs: c.Host.Sysfs,
		Source: source, Tree: tree, Log: log, Out: e.root.OutOrStdout(), Rounds: -1,
		Failed: func() { e.faults.add(name) },
	}
}

// addExporters opens the exporters that the configuration enables, and adds them to an App. It returns the pages that
// they want served. tree may be nil.
func (e *Env) addExporters(a *app.App, tree export.TreeCounters) ([]web.Page, error) {
	var pages []web.Page
	parts, sections := e.enabled(a.Config)
	for i, part := range parts {
		x, err := add(a, part.Name, sections[i], e.program(part.Name, a.Config, a, a.Log, tree))
		if err != nil {
			return nil, err
		}
		a.OnStart(func() { a.Log.Info("exporting", "exporter", part.Name, "to", x.Target) })
		pages = append(pages, x.Pages...)
	}
	return pages, nil
}

// add opens an exporter and adds it to an App.
func add(a *app.App, name string, opener export.Opener, p export.Program) (*export.Exporter, error) {
	x, err := opener.Open(p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if x.Close != nil {
		a.OnClose(x.Close)
	}
	if x.Run != nil {
		a.Add(app.Service{Name: name, Run: x.Run})
	}
	return x, nil
}

// exporterCommand runs one exporter alone, by flags.
func (e *Env) exporterCommand(part export.Part) *cobra.Command {
	cmd := &cobra.Command{
		Use:     part.Name,
		Short:   part.Summary,
		Example: strings.ReplaceAll(part.Command.Example, "%[1]s", string(e.Program.Kind)),
	}
	flags := part.Command.Flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if flags.Read != nil {
			if err := flags.Read(); err != nil {
				return usageError{err}
			}
		}
		if flags.Pace != nil {
			return e.measure(cmd, part, flags)
		}
		return e.Serve(cmd, Service{
			Keep: app.KeepIfPossible,
			Keys: flags.Keys,
			Adjust: func(c *config.Config) {
				only(c, part.Name)
				c.Tree.Enabled = config.None
			},
		})
	}
	return cmd
}

// Silent switches all exporters off, and the HTTP server.
func Silent(c *config.Config) {
	only(c, "")
	section[*web.Config](*c, webSection).Listen = nil
}

// only switches one exporter on, and the others off.
func only(c *config.Config, name string) {
	for _, s := range c.Sections {
		if x, ok := s.Values.(export.Section); ok {
			x.Turn(s.Name == name)
		}
	}
}

// measure runs one exporter at a pace of its own.
func (e *Env) measure(cmd *cobra.Command, part export.Part, flags export.Flags) error {
	c, log, err := e.loadQuiet(cmd, flags.Keys)
	if err != nil {
		return err
	}
	pace := flags.Pace()
	c.Interval = pace.Step
	opener := flags.Opener
	if opener == nil {
		opener = section[export.Section](c, part.Name)
	}
	a, err := e.Open(cmd.Context(), c, log, app.KeepNothing)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	p := e.program(part.Name, a.Config, a, a.Log, nil)
	p.Rounds = pace.Rounds
	_, err = add(a, part.Name, export.OpenerFunc(func(p export.Program) (*export.Exporter, error) {
		x, err := opener.Open(p)
		if err == nil {
			run := x.Run
			x.Run = func(ctx context.Context) error {
				defer cancel() // the last round ends the command
				return run(ctx)
			}
		}
		return x, err
	}), p)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	return a.Run(ctx)
}
