// Package cli holds what the command lines of the two programs have in common: global flags, configuration,
// logging, exit codes, and the commands that run one exporter.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/meter"
	"github.com/scaph/scaph/internal/web"
)

// Exit codes.
const (
	ExitFailure = 1 // it could not be done; the message says why
	ExitUsage   = 2 // the command line or the configuration is wrong

	exitPipe = 128 + int(syscall.SIGPIPE) // nobody reads our output any more: as for who is ended by that signal
)

// A Program is one of the two binaries.
type Program struct {
	Kind    config.Program
	Short   string
	Long    string
	Example string

	Exporters []export.Part // see package parts
	Profiles  http.Handler  // see package web/profiles; nil: there are none

	// VMs opens the source of virtual machines; see app.Options. Nil: there are none.
	VMs func(context.Context, *app.App) (meter.VMSource, error)
	// Tree adds the tree of meters to an App that is to serve it, as far as the configuration wants one, and
	// returns its counters, nil where there is none. Nothing that runs is touched before the App starts. Nil: there never is one.
	Tree func(*app.App) (export.TreeCounters, error)
	// Check looks at what only this program needs; running says that the service does.
	Check func(ctx context.Context, c config.Config, running bool) []Finding
	// Commands are those that only this program has.
	Commands func(*Env) []*cobra.Command
}

// An Env is what every command needs: the global flags, turned into a configuration and a logger.
type Env struct {
	Program Program
	root    *cobra.Command
	path    string // --config
	keys    map[string]string
	linked  app.Linked  // of a service
	server  *web.Server // of the App that runs, nil if it has none
	faults  faults
}

// Set by the linker.
var version, revision string

// Version gives the version and the revision of this build.
func Version() (ver, rev string) {
	ver, rev = version, revision
	if info, ok := debug.ReadBuildInfo(); ok {
		ver = cmp.Or(ver, info.Main.Version)
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				rev = cmp.Or(rev, s.Value)
			}
		}
	}
	return ver, cmp.Or(rev, "unknown")
}

// usageError is a mistake on the command line.
type usageError struct{ error }

// Main runs the program and returns its exit code. It ends at SIGINT and SIGTERM, gracefully; at the second
// one, at once.
func Main(p Program) int {
	frugal()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	// Whoever reads our output or our log may leave at any time. Asked for, the signal ends nothing: the write fails.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	env := newEnv(p)
	out := &output{file: os.Stdout, stop: cancel}
	env.root.SetOut(out)
	err := env.root.ExecuteContext(ctx)
	if failed := out.close(); closedPipe(failed) {
		return exitPipe
	} else if failed != nil {
		err = fmt.Errorf("the output cannot be written: %w", failed)
	}
	if err == nil {
		return 0
	}
	var usage usageError
	var invalid *config.Error
	complain(os.Stderr, p, err)
	if errors.As(err, &usage) || errors.As(err, &invalid) {
		return ExitUsage
	}
	return ExitFailure
}

func complain(w io.Writer, p Program, err error) {
	var silent silentError
	if errors.As(err, &silent) {
		return
	}
	fmt.Fprintf(w, "%s: %v\n", p.Kind, err)
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(w, "Try '%s --help'.\n", p.Kind)
	}
}

// silentError is a failure that the command itself has already told.
type silentError struct{}

func (silentError) Error() string { return "failed" }

// Failed is what a command returns that has shown its findings and wants exit code 1.
var Failed error = silentError{}

func newEnv(p Program) *Env {
	ver, revision := Version()
	e := &Env{Program: p}
	e.root = &cobra.Command{
		Use: string(p.Kind), Short: p.Short, Long: p.Long, Example: p.Example,
		Version:       ver + " (" + revision + ")",
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q%s", args[0], e.suggest(args[0]))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	e.root.SuggestionsMinimumDistance = 2
	e.root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := e.root.PersistentFlags()
	flags.StringVar(&e.path, "config", "", "configuration file (YAML)")
	flags.String("sysfs", "/sys", "mount point of sysfs")
	flags.String("procfs", "/proc", "mount point of procfs")
	flags.String("log-level", "info", "debug, info, warn or error")
	flags.String("log-format", "text", "text or json")
	e.keys = map[string]string{
		"sysfs": "host.sysfs", "procfs": "host.procfs", "log-level": "log.level", "log-format": "log.format",
	}
	if p.Kind == config.Guest {
		flags.String("powercap", "auto", "directory of the zones; auto: "+app.GuestTree+" if it holds zones, else <sysfs>/class/powercap")
		e.keys["powercap"] = "sensor.powercap"
	}
	_ = e.root.MarkPersistentFlagFilename("config", "yaml", "yml") // fails only for a flag that is not there
	e.root.AddCommand(e.runCommand(), e.checkCommand())
	for _, part := range p.Exporters {
		e.root.AddCommand(e.exporterCommand(part))
	}
	if p.Commands != nil {
		e.root.AddCommand(p.Commands(e)...)
	}
	for _, c := range e.root.Commands() {
		if c.Args == nil {
			c.Args = func(cmd *cobra.Command, args []string) error { return asUsage(cobra.NoArgs(cmd, args)) }
		}
	}
	return e
}

func asUsage(err error) error {
	if err != nil {
		return usageError{err}
	}
	return nil
}

// UsageErrorf is a mistake on the command line, for commands outside this package.
func UsageErrorf(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func (e *Env) suggest(word string) string {
	if names := e.root.SuggestionsFor(word); len(names) > 0 {
		return "; did you mean " + strings.Join(names, " or ") + "?"
	}
	return ""
}

// LoadQuiet is Load for a command that shows its findings itself: unless asked for, only warnings are logged.
func (e *Env) LoadQuiet(cmd *cobra.Command) (config.Config, *slog.Logger, error) {
	return e.loadQuiet(cmd, nil)
}

func (e *Env) loadQuiet(cmd *cobra.Command, keys map[string]string) (config.Config, *slog.Logger, error) {
	c, log, err := e.Load(cmd, keys)
	if err == nil && !cmd.Flags().Changed("log-level") && c.Log.Level == config.Default().Log.Level {
		c.Log.Level = "warn"
		log = newLogger(cmd.ErrOrStderr(), c.Log)
	}
	return c, log, err
}

// Load gives the configuration and the logger of a command; keys says which of its flags set which key.
func (e *Env) Load(cmd *cobra.Command, keys map[string]string) (config.Config, *slog.Logger, error) {
	all := map[string]string{}
	for flag, key := range e.keys {
		all[flag] = key
	}
	for flag, key := range keys {
		all[flag] = key
	}
	var odd []config.Problem
	c, err := config.Load(config.Options{
		Program: e.Program.Kind, Sections: e.sections(), Path: e.path, Flags: cmd.Flags(), Keys: all, Env: os.Environ(),
		Warn: func(p config.Problem) { odd = append(odd, p) },
	})
	if err != nil {
		return c, nil, err
	}
	log := newLogger(cmd.ErrOrStderr(), c.Log)
	for _, p := range odd {
		log.Warn(p.Why, "key", p.Key, "where", p.Where, "hint", p.Allowed)
	}
	return c, log, nil
}

func newLogger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // the configuration was validated
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// Open puts an app together for a look at the machine, with what the program adds.
func (e *Env) Open(ctx context.Context, c config.Config, log *slog.Logger, keep app.Keep) (*app.App, error) {
	return e.open(ctx, c, log, app.Options{Keep: keep})
}

func (e *Env) open(ctx context.Context, c config.Config, log *slog.Logger, o app.Options) (*app.App, error) {
	o.Program, o.Linked = e.Program.Kind, e.linked
	if e.Program.VMs != nil {
		o.VMs = func(a *app.App) (meter.VMSource, error) { return e.Program.VMs(ctx, a) }
	}
	return app.New(c, log, o)
}

// openService puts together what a service runs: an App with the configured exporters, and the tree.
func (e *Env) openService(ctx context.Context, c config.Config, log *slog.Logger, o app.Options) (*app.App, error) {
	a, err := e.open(ctx, c, log, o)
	if err != nil {
		return nil, err
	}
	a.WatchZones(e.Program.Kind)
	if err := e.addParts(a); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// addParts adds what the configuration enables to an App.
func (e *Env) addParts(a *app.App) error {
	var tree export.TreeCounters
	if e.Program.Tree != nil {
		var err error
		if tree, err = e.Program.Tree(a); err != nil {
			return err
		}
	}
	pages, err := e.addExporters(a, tree)
	if err != nil {
		return err
	}
	return e.addWeb(a, pages)
}
