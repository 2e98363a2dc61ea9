// Package export holds what exporters have in common: what a part brings, and what it is given. Each exporter is a folder
// below; package parts has the list.
package export

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/web"
)

// A Part is an exporter as the programs know it: all that its folder brings. The list is in package parts.
type Part struct {
	Name    string // of its section of the configuration and of its command
	Summary string // one line, for help
	// Section returns its section of the configuration, with the defaults; nil: it is run by its command alone.
	Section func() Section
	Command Command
}

// A Section is an exporter's section of the configuration: a pointer to a struct with the tags of package config.
type Section interface {
	// Check calls bad with the name of each key, relative to the section, whose value is not allowed.
	Check(bad func(key string))
	// On reports whether the service runs the exporter.
	On() bool
	// Turn switches the exporter on or off, whatever was configured.
	Turn(on bool)
	Opener
}

// An Opener opens an exporter. All that can fail is done now: a reload lets go of the old configuration only when all of the
// new one is open. Nothing that another exporter holds is touched, and nothing is left behind that Close does not take
// away: the pre-flight check opens exporters too.
type Opener interface {
	Open(Program) (*Exporter, error)
}

// Switch is the key of an exporter that the service runs where it is asked to.
type Switch struct {
	Enabled bool `mapstructure:"enabled" allowed:"true or false"`
}

// On reports whether the service runs the exporter.
func (s *Switch) On() bool { return s.Enabled }

// Turn switches the exporter on or off.
func (s *Switch) Turn(on bool) { s.Enabled = on }

// A Program is what an exporter is given.
type Program struct {
	Name, Version, Revision string
	Procfs, Sysfs           string // where they are mounted
	Source                  Source
	Tree                    TreeCounters // nil where no tree is served
	Log                     *slog.Logger
	Out                     io.Writer // standard output
	Rounds                  int       // how many Snapshots are to be exported; negative: all, until the context is done
	Failed                  func()    // counts a fault, over reloads
}

// A Source gives Snapshots.
type Source interface {
	// Latest returns the last one, nil before the first tick.
	Latest() *snapshot.Snapshot
	// Next waits for one with a Seq above after; nil when ctx is done.
	Next(ctx context.Context, after uint64) *snapshot.Snapshot
}

// TreeCounters count what happens to the tree of meters.
type TreeCounters interface {
	Reads() uint64   // of files
	Resumes() uint64 // of the mount, from an earlier process
	Panics() uint64  // requests that met a mistake in the program
}

// An Exporter is open.
type Exporter struct {
	Target string     // where it exports to, for people
	Pages  []web.Page // that the process's server has for it
	// Run exports Snapshots until ctx is done or Program.Rounds are over, and closes what is open. It begins when the
	// exporter of the former configuration has ended. Nil: nothing runs.
	Run func(ctx context.Context) error
	// Close is for an exporter that is not run. Nil: there is nothing to close.
	Close func() error
}

// A Command is the command that runs one exporter alone.
type Command struct {
	Example string // lines, with %[1]s for the name of the program
	// Flags adds flags to the command, and returns how they are read.
	Flags func(*pflag.FlagSet) Flags
}

// Flags say what the flags of a command come to.
type Flags struct {
	Keys map[string]string // which of them set which key of the configuration
	// Read is called before the configuration is loaded, and may set flags of Keys from others. The error is a mistake on the
	// command line. Nil: there is nothing to read.
	Read func() error
	// Opener is for a Part without a section.
	Opener Opener
	// Pace, after Read, returns how often and how long. Nil: the command is a service, which reloads and keeps its state.
	Pace func() Pace
}

// A Pace is that of a command that measures for a while.
type Pace struct {
	Step   time.Duration // between Snapshots
	Rounds int           // negative: until the command is stopped
}

// OpenerFunc is a function that is an Opener.
type OpenerFunc func(Program) (*Exporter, error)

// Open calls the function.
func (f OpenerFunc) Open(p Program) (*Exporter, error) { return f(p) }
