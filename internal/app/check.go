package app

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/rapl"
)

// CheckSensor opens the configured sensor and says what it has. The error is what Open gives; remedy says
// what to do about it.
func CheckSensor(c config.Config, program config.Program, log *slog.Logger) (what, remedy string, err error) {
	sensor, err := OpenSensor(c, program, log)
	var none *rapl.NoZonesError
	if errors.As(err, &none) {
		return fmt.Sprintf("no readable RAPL zone in %s: %s", none.Dir, none.Detail), none.Remedy, err
	}
	if err != nil {
		return err.Error(), "", err
	}
	zones := sensor.Zones()
	what = fmt.Sprintf("%s: %s", c.Sensor.Kind, names(zones))
	if c.Sensor.Kind != "estimate" {
		what = fmt.Sprintf("%s in %s: %s", c.Sensor.Kind, PowercapDir(c, program), names(zones))
	}
	return what, "", sensor.Close()
}

// CheckCPUTime opens the configured source of CPU time and takes a sample. note says why it is not the best
// one, "" where it is.
func CheckCPUTime(c config.Config) (what, note string, err error) {
	cpus, err := cputime.ReadTopology(c.Host.Sysfs, c.Host.Procfs)
	if err != nil {
		return "", "", err
	}
	domains := cputime.NewDomains(c.Host.Sysfs, cpus, nil)
	source, note, err := openCPUSource(c, domains)
	if err != nil {
		return "", note, err
	}
	var sample cputime.Sample
	if err = source.Sample(&sample); err != nil {
		return "", note, errors.Join(err, source.Close())
	}
	what = fmt.Sprintf("%s: %d processes on %d CPUs", source.Name(), len(source.Baseline().Processes), len(cpus))
	return what, strings.TrimSpace(note), source.Close()
}
