// Package app puts metering together: it turns a configuration into a meter with its sources and a set of
// services that consume its Snapshots. Both programs use it; what only a host has (virtual machines, the tree)
// is handed in.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/meter"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/rapl"
	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
)

// A Service runs until its context is done. An error ends the program.
type Service struct {
	Name string
	Run  func(context.Context) error
	// Drains says that the service may take a while to end, as one does that lets requests in flight finish. A
	// successor does not wait for it.
	Drains bool
}

// Options are what the configuration does not say.
type Options struct {
	Program config.Program
	Keep    Keep
	Linked  Linked // nil: not known
	// VMs opens the source of virtual machines, and adds to the app what has to run and be closed for it. Nil: there
	// are none.
	VMs func(*App) (meter.VMSource, error)
	// Former is the App that runs now, and whose place this one is to take; see Succeed. Nil: there is none.
	Former *App
	// Faults counts what went wrong beside the meter, over reloads; nil: nothing can.
	Faults func() []snapshot.ErrorCount
}

// An App is a meter and what runs beside it.
type App struct {
	Config config.Config
	Log    *slog.Logger
	// Meter is not there yet while Options.VMs is called, and another one from Succeed on: it is to be read where it is used.
	Meter *meter.Meter

	meter        meter.Options
	kept         *kept // nil where nothing is kept over a restart
	linked       Linked
	faults       func() []snapshot.ErrorCount // nil: there can be none
	services     []Service
	starters     []func()
	closers      []func() error // in the order of opening
	zonesChanged chan struct{}
	retire       chan struct{}      // closed by Retire
	retired      chan struct{}      // closed when nothing measures or publishes any more
	before       *snapshot.Snapshot // the former's last, which counts until there is one of our own
	heir         *kept              // what a successor goes on from; written before retired is closed
	ready        bool               // for a successor; likewise
}

// New opens the sources and makes the meter: all that can fail. Nothing runs until Run; whoever does not call Run calls
// Close. Where there is a Former it is not touched, and goes on.
func New(c config.Config, log *slog.Logger, o Options) (_ *App, err error) {
	a := &App{
		Config: c, Log: log, linked: o.Linked, faults: o.Faults,
		zonesChanged: make(chan struct{}, 1), retire: make(chan struct{}), retired: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	sensor, faults, err := openSensors(c, o.Program, log)
	if err != nil {
		return nil, err
	}
	a.OnClose(sensor.Close)
	if err := a.openState(o); err != nil { // early: a second instance ends here
		return nil, err
	}

	cpus, err := cputime.ReadTopology(c.Host.Sysfs, c.Host.Procfs)
	if err != nil {
		return nil, err
	}
	domains := cputime.NewDomains(c.Host.Sysfs, cpus, domainZones(sensor.Zones()))
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

	a.meter = meterOptions(c, log, sensor)
	a.meter.Faults = faults
	a.meter.CPU, a.meter.CPUs = cpu, len(cpus)
	a.meter.DomainOf = func(z energy.Zone) int { return domains.OfZone(cputime.Zone{Package: z.Package, Die: z.Die}) }
	if o.Program == config.Guest {
		// The one zone of a guest may carry the shares of all the host's sockets.
		a.meter.MaxPower = func(energy.Kind) energy.Watts { return rapl.MaxPlatformPower }
	}
	if o.VMs != nil {
		if a.meter.VMs, err = o.VMs(a); err != nil {
			return nil, err
		}
	}
	if unknown := unknownFloors(c, sensor.Zones()); unknown != "" {
		log.Warn("a configured idle floor belongs to no zone", "key", "attribution.idle_watts", "unknown", unknown, "zones", names(sensor.Zones()))
	}
	a.Meter, err = a.newMeter()
	return a, err
}

// meterOptions are what a meter needs that depends on the configuration and the sensor alone.
func meterOptions(c config.Config, log *slog.Logger, sensor Sensor) meter.Options {
	return meter.Options{
		Sensor:    sensor,
		DomainOf:  func(energy.Zone) int { return ledger.AllDomains },
		MaxPower:  maxPower,
		Exe:       exeOf(c.Host.Procfs),
		Shown:     series.LabelValue,
		Interval:  c.Interval,
		Psys:      c.Sensor.Basis == "psys",
		Idle:      ledger.Policy(c.Attribution.Idle),
		IdleWatts: idleWatts(c.Attribution.IdleWatts),
		Listed:    c.Processes.Top,
		BootID:    proc.BootID(c.Host.Procfs),
		Clock:     meter.SystemClock{},

		ScrapeInterval: readEvery(c),
		Log:            log,
	}
}

// newMeter makes the meter. With a Former it is made a second time when that one has ended, and goes on from its state.
func (a *App) newMeter() (*meter.Meter, error) {
	var saved [][]byte
	if a.kept != nil {
		saved = a.kept.states()
		if a.kept.files != nil {
			a.meter.State, a.meter.Ahead = a.kept, a.kept.newAhead()
		}
	}
	return newMeter(a.meter, a.Config.Sensor.Basis, saved...)
}

func newMeter(o meter.Options, basis string, saved ...[]byte) (*meter.Meter, error) {
	m, err := meter.New(o, saved...)
	if errors.Is(err, meter.ErrNothingToMeasure) {
		return nil, fmt.Errorf("sensor.basis %s: %w: it has %s; choose package or psys", basis, err, names(o.Sensor.Zones()))
	}
	return m, err
}

// Latest returns the last Snapshot, nil before the first tick, with the faults that are not the meter's.
func (a *App) Latest() *snapshot.Snapshot {
	s := cmp.Or(a.Meter.Latest(), a.before)
	if s == nil || a.faults == nil {
		return s
	}
	faults := a.faults()
	if len(faults) == 0 {
		return s
	}
	with := *s
	with.Errors = slices.Concat(s.Errors, faults)
	return &with
}

// Next waits for a Snapshot of the meter with a Seq above after; nil when ctx is done.
func (a *App) Next(ctx context.Context, after uint64) *snapshot.Snapshot {
	return a.Meter.Next(ctx, after)
}

// Add adds a service; before Run.
func (a *App) Add(s Service) { a.services = append(a.services, s) }

// OnStart adds what is to be done when the App begins to run, and where it succeeds another, when that one has ended. It can
// not fail: what can was done before.
func (a *App) OnStart(starter func()) { a.starters = append(a.starters, starter) }

// OnClose adds what is to be closed when the app is; last first.
func (a *App) OnClose(closer func() error) { a.closers = append(a.closers, closer) }

// Succeed makes the App go on from where the former one has stopped; see Retire.
func (a *App) Succeed(former *App) (err error) {
	a.kept, a.before, a.meter.Succeeds = former.heir, former.Meter.Latest(), true
	a.Meter, err = a.newMeter()
	return err
}

// Run ticks and runs the services until ctx is done, one of them fails or Retire is called, and closes everything.
func (a *App) Run(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	measuring, stop := context.WithCancel(ctx)
	defer stop()
	for _, start := range a.starters {
		start()
	}
	meters, drains := group{ctx: measuring, fail: end}, group{ctx: ctx, fail: end}
	meters.run(Service{Name: "meter", Run: a.Meter.Run})
	meters.run(Service{Name: "notify", Run: a.notify})
	meters.run(Service{Name: "memory", Run: a.dropStarted})
	for _, s := range a.services {
		if s.Drains {
			drains.run(s)
		} else {
			meters.run(s)
		}
	}
	select {
	case <-ctx.Done():
	case <-a.retire:
		a.ready = true
	}
	stop()
	err := meters.Wait()
	if a.ready = a.ready && err == nil; a.ready {
		a.heir, a.kept = a.kept, nil
	}
	close(a.retired)
	end()
	return errors.Join(err, drains.Wait(), a.Close())
}

// Retire has Run end, and returns when nothing measures or publishes any more, so that a successor may; services that
// drain may go on for a while. It reports false where Run had come to its own end. It is called once, after Run was.
func (a *App) Retire() (ready bool) {
	close(a.retire)
	<-a.retired
	return a.ready
}

// Close gives back what New opened, last first. It may be called again.
func (a *App) Close() error {
	var err error
	for i := len(a.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, a.closers[i]())
	}
	a.closers = nil
	if a.kept != nil {
		err = errors.Join(err, a.kept.close())
		a.kept = nil
	}
	return err
}

// readEvery is the longest interval at which anybody who is told of in the configuration reads series.
func readEvery(c config.Config) time.Duration {
	var longest time.Duration
	for _, s := range c.Sections {
		if reader, ok := s.Values.(interface{ ReadEvery() time.Duration }); ok {
			longest = max(longest, reader.ReadEvery())
		}
	}
	return cmp.Or(longest, time.Minute)
}

func names(zones []energy.Zone) string {
	if len(zones) == 0 {
		return "no zones"
	}
	all := make([]string, len(zones))
	for i, z := range zones {
		all[i] = series.LabelValue(z.Name)
	}
	return strings.Join(all, ", ")
}

// unknownFloors names the configured idle floors of zones that are not there, "" if there are none. Such a zone may come later.
func unknownFloors(c config.Config, zones []energy.Zone) string {
	var unknown []string
	for name := range c.Attribution.IdleWatts {
		if !slices.ContainsFunc(zones, func(z energy.Zone) bool {
			return z.Split == energy.ByCPU && (z.Name == name || z.Path == name)
		}) {
			unknown = append(unknown, strconv.Quote(name))
		}
	}
	slices.Sort(unknown)
	return strings.Join(unknown, ", ")
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
		return proc.Executable(target)
	}
}
