// Package demo shows the whole way of a joule on one machine: sensor, VMs, split, tree, and a guest's reading from it.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/export/terminal"
	"github.com/scaph/scaph/internal/host"
	"github.com/scaph/scaph/internal/meter"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vmmap"
)

// The stand-ins for virtual machines: processes that keep a CPU busy for a part of the time.
var standIns = []struct {
	name string
	duty int // percent of one CPU
}{{"web", 60}, {"database", 30}, {"idle", 2}}

// Command is the demonstration; a tree is added to h.
func Command(e *cli.Env, h *host.Host) *cobra.Command {
	var seconds int
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole way of a joule on this machine, labelled as what it is",
		Long: `Show the whole way of a joule on this machine: a sensor, virtual machines, their split of the energy, the tree
of meters (where FUSE can be mounted), and a guest's reading from it.

Where RAPL can be read, power is measured. Elsewhere it is simulated: estimated from CPU use between
20 W at rest and 100 W at full load, and the demonstration says so. The virtual machines are stand-ins: processes that keep
one CPU busy for 60, 30 and 2 percent of the time. Nothing is left behind.`,
		Example: "  scaph-host demo\n  scaph-host demo --time 60",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if seconds < 3 {
				return cli.UsageErrorf("--time %d: must be at least 3 seconds", seconds)
			}
			c, _, err := e.Load(cmd, nil)
			if err != nil {
				return err
			}
			return demo(cmd.Context(), h, cmd.OutOrStdout(), c, time.Duration(seconds)*time.Second)
		},
	}
	cmd.Flags().IntVarP(&seconds, "time", "t", 20, "seconds that it lasts")
	cmd.AddCommand(standInCommand(), guestReadingCommand())
	return cmd
}

func demo(ctx context.Context, h *host.Host, out io.Writer, c config.Config, length time.Duration) (err error) {
	log := slog.New(slog.DiscardHandler) // what matters here is told in the table
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal was closed: there is a mount to take away
	defer stop()
	dir, err := os.MkdirTemp("", "scaph-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Unmount(), os.RemoveAll(dir)) }()

	sensor, _, noRAPL := app.CheckSensor(c, config.Host, log)
	if noRAPL != nil {
		fmt.Fprintf(out, "SIMULATED power: %s.\nIt is estimated from CPU use instead, 20 W at rest and 100 W at full load.\n\n", sensor)
		c.Sensor.Kind = "estimate"
	} else {
		fmt.Fprintf(out, "Power is measured: %s.\n\n", sensor)
	}
	children, vms, err := startStandIns(ctx, c.Host.Procfs)
	defer func() { children.wait() }()
	defer cancel() // ends the children, before they are waited for
	if err != nil {
		return err
	}
	a, err := app.New(c, log, app.Options{Program: config.Host, VMs: func(*app.App) (meter.VMSource, error) { return vms, nil }})
	if err != nil {
		return err
	}
	c.Tree.Path, c.Tree.Enabled, c.State.Run = filepath.Join(dir, "tree"), config.On, dir
	a.Config = c
	g := &guest{}
	if _, err := h.AddTree(a); err != nil {
		g.missing = strings.TrimPrefix(err.Error(), "tree: ")
	} else {
		g.dir = filepath.Join(c.Tree.Path, standIns[0].name)
		a.Add(app.Service{Name: "guest", Run: g.run})
	}
	a.Add(app.Service{Name: "table", Run: func(ctx context.Context) error { return table(ctx, out, a.Meter, g) }})
	if err := a.Run(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nThat was it. For the real thing: scaph-host check, then scaph-host run.\n")
	return nil
}

// table writes a round for each Snapshot; on a terminal, each over the last one.
func table(ctx context.Context, out io.Writer, m terminal.Source, g *guest) error {
	live := isTerminal(out)
	lines := 0
	var before *snapshot.Snapshot
	for now := m.Next(ctx, 0); now != nil; now = m.Next(ctx, now.Seq) {
		if before == nil { // nothing to compare with yet
			before = now
			continue
		}
		var b bytes.Buffer
		if err := terminal.WriteRound(&b, before, now, terminal.Options{Processes: 5}); err != nil {
			return err
		}
		fmt.Fprintf(&b, "Guest: %s\n", g.line())
		text := b.String()
		if live {
			if lines > 0 {
				fmt.Fprintf(out, "\x1b[%dA\x1b[J", lines)
			}
			lines = strings.Count(text, "\n")
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
		before = now
	}
	return nil
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(interface{ Fd() uintptr })
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// A fixedMap is a source of virtual machines that never changes.
type fixedMap struct{ vms *vmmap.Map }

// Current gives the map.
func (f fixedMap) Current() *vmmap.Map { return f.vms }

// Faults is 0: nothing is read.
func (f fixedMap) Faults() uint64 { return 0 }

// Conflicts is 0: nobody claims anything.
func (f fixedMap) Conflicts() uint64 { return 0 }

// Restore does nothing: the map is what it is.
func (f fixedMap) Restore([]vmmap.VM, []vmmap.Past) {}

// Notice does nothing.
func (f fixedMap) Notice([]proc.ID) {}
