// Package app puts metering together: it turns a configuration into a meter with its sources and a set of
// services that consume its Snapshots. Both programs use it; what only a host has (virtual machines, the tree)
// is handed in.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/meter"
	"github.com/scaph/scaph/internal/rapl"
	"github.com/scaph/scaph/internal/state"
)

// A Service runs until its context is done. An error ends the program.
type Service struct {
	Name string
	Run  func(context.Context) error
}

// Options are what the configuration does not say.
type Options struct {
	Program config.Program
	Keep    Keep
	Linked  Linked // nil: not known
	// VMs opens the source of virtual machines, and adds to the app what has to run and be closed for it. Nil: there
	// are none.
	VMs func(*App) (meter.VMSource, error)
}

// Keep says whether the state is kept over a restart.
type Keep int

// The ways.
const (
	KeepNothing    Keep = iota // a look at the machine that ends soon
	KeepNoChange               // such a look, which goes on from what the service has kept and leaves that as it is
	KeepIfPossible             // a service by flags alone, perhaps without rights to the state's directories
	KeepAlways                 // the service
)

// An App is a meter and what runs beside it.
type App struct {
	Config config.Config
	Log    *slog.Logger
	Meter  *meter.Meter // not there yet while Options.VMs is called

	linked   Linked
	services []Service
	closers  []func() error // in the order of opening
}

// New opens the sources and makes the meter. Nothing runs until Run; whoever does not call Run calls Close.
func New(c config.Config, log *slog.Logger, o Options) (_ *App, err error) {
	a := &App{Config: c, Log: log, linked: o.Linked}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	sensor, err := OpenSensor(c, o.Program, log)
	if err != nil {
		return nil, err
	}
	a.OnClose(sensor.Close)
	store, saved, err := a.openState(o.Keep) // early: a second instance ends here
	if err != nil {
		return nil, err
	}

	cpus, err := cputime.ReadTopology(c.Host.Sysfs, c.Host.Procfs)
	if err != nil {
		return nil, err
	}
	zones := sensor.Zones()
	domains := cputime.NewDomains(c.Host.Sysfs, cpus, domainZones(zones))
	cpu, note, err := openCPUSource(c, domains)
	if err != nil {
		return nil, err
	}
	if note == "" {
		log.Info("CPU time", "source", cpu.Name())
	} else {
		log.Info("CPU time", "source", cpu.Name(), "why", note)
	}
	a.OnClose(cpu.Close)

	options := meter.Options{
		Sensor: sensor, CPU: cpu,
		DomainOf:  func(z energy.Zone) int { return domains.OfZone(cputime.Zone{Package: z.Package, Die: z.Die}) },
		CPUs:      len(cpus),
		MaxPower:  rapl.MaxPower,
		Exe:       exeOf(c.Host.Procfs),
		Shown:     export.LabelValue,
		Interval:  c.Interval,
		Psys:      c.Sensor.Basis == "psys",
		Idle:      ledger.Policy(c.Attribution.Idle),
		IdleWatts: idleWatts(c.Attribution.IdleWatts),
		Listed:    c.Prometheus.Processes.Top,
		BootID:    cputime.BootID(c.Host.Procfs),
		Clock:     meter.SystemClock{},
		Log:       log,
	}
	if store != nil {
		options.State, options.Ahead = store, store
	}
	options.ScrapeInterval = c.Prometheus.ScrapeInterval
	if o.Program == config.Guest {
		// The one zone of a guest may carry the shares of all the host's sockets.
		options.MaxPower = func(energy.Kind) energy.Watts { return rapl.MaxPlatformPower }
	}
	if o.VMs != nil {
		if options.VMs, err = o.VMs(a); err != nil {
			return nil, err
		}
	}
	a.Meter, err = meter.New(options, saved...)
	if errors.Is(err, meter.ErrNothingToMeasure) {
		return nil, fmt.Errorf("%w: it has %s; sensor.basis chooses between package and psys", err, names(zones))
	}
	return a, err
}

// openState opens the store, nil where nothing is to be kept, and gives what was kept.
func (a *App) openState(keep Keep) (store *state.Store, saved [][]byte, err error) {
	if keep == KeepNothing {
		return nil, nil, nil
	}
	run, lib := a.Config.State.Run, a.Config.State.Lib
	if keep != KeepNoChange {
		opened, err := state.Open(run, lib)
		var locked *state.LockedError
		switch {
		case err == nil:
			a.OnClose(opened.Close)
			store = opened
		case keep == KeepIfPossible && !errors.As(err, &locked):
			a.Log.Warn("nothing is kept over a restart: counters will start at 0 again", "why", err)
			return nil, nil, nil
		default:
			return nil, nil, err
		}
	}
	if saved, err = state.Load(run, lib); err != nil && keep != KeepNoChange {
		a.Log.Error("the state of the last run cannot be read", "error", err)
	}
	return store, saved, nil
}

// Add adds a service; before Run.
func (a *App) Add(s Service) { a.services = append(a.services, s) }

// OnClose adds what is to be closed when the app is; last first.
func (a *App) OnClose(closer func() error) { a.closers = append(a.closers, closer) }

// Run ticks and runs the services until ctx is done or one of them fails, and closes everything.
func (a *App) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.Meter.Run(ctx) })
	g.Go(func() error { a.notify(ctx); return nil })
	g.Go(func() error { a.dropStarted(ctx); return nil })
	for _, s := range a.services {
		g.Go(func() error {
			if err := s.Run(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			return nil
		})
	}
	return errors.Join(g.Wait(), a.Close())
}

// Close gives back what New opened, last first. It may be called again.
func (a *App) Close() error {
	var err error
	for i := len(a.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, a.closers[i]())
	}
	a.closers = nil
	return err
}

func names(zones []energy.Zone) string {
	if len(zones) == 0 {
		return "no zones"
	}
	all := make([]string, len(zones))
	for i, z := range zones {
		all[i] = z.Name
	}
	return strings.Join(all, ", ")
}

func idleWatts(configured map[string]float64) map[string]energy.Watts {
	watts := make(map[string]energy.Watts, len(configured))
	for zone, w := range configured {
		watts[zone] = energy.Watts(w)
	}
	return watts
}

func exeOf(procfs string) func(int32) string {
	return func(pid int32) string {
		target, err := os.Readlink(filepath.Join(procfs, fmt.Sprint(pid), "exe"))
		if err != nil {
			return "" // gone, or not ours to see
		}
		return strings.TrimSuffix(target, " (deleted)")
	}
}
