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
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
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
	VMs     meter.VMSource // nil: there are none
	Keep    bool           // keep the state over a restart: for services, not for one-shot commands
	Sensor  Sensor         // nil: as configured
}

// A Sensor is a meter's sensor that is closed in the end.
type Sensor interface {
	meter.Sensor
	Close() error
}

// An App is a meter and what runs beside it.
type App struct {
	Config config.Config
	Log    *slog.Logger
	Meter  *meter.Meter

	services []Service
	closers  []func() error // in the order of opening
}

// New opens the sources and makes the meter. Nothing runs until Run; whoever does not call Run calls Close.
func New(c config.Config, log *slog.Logger, o Options) (_ *App, err error) {
	a := &App{Config: c, Log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	sensor := o.Sensor
	if sensor == nil {
		if sensor, err = OpenSensor(c, o.Program, log); err != nil {
			return nil, err
		}
	}
	a.closers = append(a.closers, sensor.Close)

	cpus, err := cputime.ReadTopology(c.Host.Sysfs, c.Host.Procfs)
	if err != nil {
		return nil, err
	}
	zones := sensor.Zones()
	domains := cputime.NewDomains(c.Host.Sysfs, cpus, domainZones(zones))
	cpu, err := openCPUSource(c, domains, log)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, cpu.Close)

	options := meter.Options{
		Sensor: sensor, CPU: cpu, VMs: o.VMs,
		DomainOf:  func(z energy.Zone) int { return domains.OfZone(cputime.Zone{Package: z.Package, Die: z.Die}) },
		CPUs:      len(cpus),
		MaxPower:  rapl.MaxPower,
		Exe:       exeOf(c.Host.Procfs),
		Interval:  c.Interval,
		Psys:      c.Sensor.Basis == "psys",
		Idle:      ledger.Policy(c.Attribution.Idle),
		IdleWatts: idleWatts(c.Attribution.IdleWatts),
		Listed:    c.Prometheus.Processes.Top,
		BootID:    cputime.BootID(c.Host.Procfs),
		Clock:     meter.SystemClock{},
		Log:       log,
	}
	if o.Program == config.Guest {
		// The one zone of a guest may carry the shares of all the host's sockets.
		options.MaxPower = func(energy.Kind) energy.Watts { return rapl.MaxPlatformPower }
	}
	var saved [][]byte
	if o.Keep {
		store, err := state.Open(c.State.Run, c.State.Lib, time.Now)
		if err != nil {
			return nil, err
		}
		a.closers = append(a.closers, store.Close)
		if saved, err = store.Load(); err != nil {
			log.Error("the state of the last run cannot be read", "error", err)
		}
		options.State = store
	}
	a.Meter, err = meter.New(options, saved...)
	if errors.Is(err, meter.ErrNothingToMeasure) {
		return nil, fmt.Errorf("%w: it has %s; sensor.basis chooses between package and psys", err, names(zones))
	}
	return a, err
}

// Add adds a service; before Run.
func (a *App) Add(s Service) { a.services = append(a.services, s) }

// Run ticks and runs the services until ctx is done or one of them fails, and closes everything.
func (a *App) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.Meter.Run(ctx) })
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
