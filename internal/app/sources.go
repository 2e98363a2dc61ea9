package app

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/cputime/bpf"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/estimate"
	"github.com/scaph/scaph/internal/meter"
	"github.com/scaph/scaph/internal/rapl"
)

// GuestTree is where a guest mounts its own tree.
const GuestTree = "/var/scaphandre"

// A Sensor is a meter's sensor that is closed in the end.
type Sensor interface {
	meter.Sensor
	Close() error
}

// OpenSensor opens the configured sensor, the one whose zones are split. Where there is no RAPL, the error is a *rapl.NoZonesError that
// says why; nothing is estimated unless the configuration asks for it.
func OpenSensor(c config.Config, program config.Program, log *slog.Logger) (Sensor, error) {
	if c.Sensor.Kind == "estimate" {
		e := c.Sensor.Estimate
		return estimate.New(c.Host.Procfs, energy.Watts(e.IdleWatts), energy.Watts(e.MaxWatts))
	}
	roots := rapl.DefaultRoots()
	roots.Sysfs, roots.Procfs = c.Host.Sysfs, c.Host.Procfs
	reader, err := rapl.Open(PowercapDir(c, program), rapl.WithLogger(log), rapl.WithRoots(roots))
	switch {
	case err == nil:
		return reader, nil
	case c.Sensor.Powercap != "auto":
		return nil, fmt.Errorf("sensor.powercap: %w", err)
	}
	return nil, err
}

// PowercapDir tells which directory the zones are read from.
func PowercapDir(c config.Config, program config.Program) string {
	if c.Sensor.Powercap != "auto" {
		return c.Sensor.Powercap
	}
	if program == config.Guest {
		// scaphandre's users set this.
		if dir := os.Getenv("SCAPHANDRE_POWERCAP_PATH"); dir != "" {
			return dir
		}
		if zones, err := filepath.Glob(filepath.Join(GuestTree, "intel-rapl*")); err == nil && len(zones) > 0 {
			return GuestTree
		}
	}
	return filepath.Join(c.Host.Sysfs, "class/powercap")
}

// A cpuSource is a meter's source of CPU time that is closed in the end.
type cpuSource interface {
	meter.CPUSource
	Close() error
}

// openCPUSource opens the configured source of CPU time. note says, where the choice is left to the program, why it
// is not the better one.
func openCPUSource(c config.Config, domains *cputime.Domains) (source cpuSource, note string, err error) {
	if c.CPUTime.Source != "procfs" {
		inKernel, err := bpf.New(c.Host.Procfs, domains)
		if err == nil {
			return inKernel, inKernel.Note(), nil
		}
		if c.CPUTime.Source == "bpf" {
			return nil, "", fmt.Errorf("cputime.source is bpf: %w", err)
		}
		note = "short-lived processes are not seen: " + err.Error()
	}
	source, err = cputime.NewProcfs(c.Host.Procfs, domains)
	return source, note, err
}

// domainZones lists the parts of the machine that zones of their own measure.
func domainZones(zones []energy.Zone) []cputime.Zone {
	var parts []cputime.Zone
	for _, z := range zones {
		if z.Kind == energy.Package {
			parts = append(parts, cputime.Zone{Package: z.Package, Die: z.Die})
		}
	}
	return parts
}
