package app

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/hwmon"
	"github.com/scaph/scaph/internal/meter"
	"github.com/scaph/scaph/internal/rapl"
)

// Sensors are several in one, their zones one after the other.
type sensors struct {
	all   []Sensor
	zones []energy.Zone
	count []int // zones of each
}

func combine(all ...Sensor) *sensors {
	s := &sensors{all: all}
	for _, one := range all {
		zones := one.Zones()
		s.zones, s.count = append(s.zones, zones...), append(s.count, len(zones))
	}
	return s
}

func (s *sensors) Zones() []energy.Zone { return slices.Clone(s.zones) }

func (s *sensors) Read(dst []energy.Reading) {
	for i, one := range s.all {
		n := min(len(dst), s.count[i])
		one.Read(dst[:n])
		dst = dst[n:]
	}
}

func (s *sensors) Close() (err error) {
	for _, one := range s.all {
		err = errors.Join(err, one.Close())
	}
	return err
}

// openSensors opens all sensors that the configuration has. Faults are those that they count
// themselves.
func openSensors(c config.Config, program config.Program, log *slog.Logger) (sensor Sensor, faults []meter.Fault, err error) {
	basis, err := OpenSensor(c, program, log)
	if err != nil {
		return nil, nil, err
	}
	devices, err := openHwmon(c, program, log)
	switch {
	case err != nil:
		return nil, nil, errors.Join(err, basis.Close())
	case devices == nil:
		return basis, nil, nil
	}
	return combine(basis, devices), []meter.Fault{{Component: "hwmon", Count: devices.Faults}}, nil
}

// openHwmon opens the chips of the machine, nil where there are none and need not be.
func openHwmon(c config.Config, program config.Program, log *slog.Logger) (*hwmon.Reader, error) {
	if !WantsHwmon(c, program) {
		return nil, nil
	}
	r, err := hwmon.Open(c.Host.Sysfs, hwmon.WithLogger(log))
	switch {
	case err == nil:
		return r, nil
	case c.Sensor.Hwmon.Enabled == config.On:
		return nil, mustHwmon(err)
	case !errors.Is(err, hwmon.ErrNone):
		log.Warn("hwmon cannot be read; what devices measure is not shown", "error", err)
	}
	return nil, nil
}

// WantsHwmon reports whether the chips of the machine are looked for. A guest has no part of its
// host's, and its meter is the whole of it.
func WantsHwmon(c config.Config, program config.Program) bool {
	return program == config.Host && c.Sensor.Hwmon.Enabled != config.None
}

// CheckHwmon opens the chips of the machine, and says what they have. It is not ok where New would
// fail.
func CheckHwmon(c config.Config, log *slog.Logger) (what string, ok bool) {
	r, err := hwmon.Open(c.Host.Sysfs, hwmon.WithLogger(log))
	if err != nil {
		if c.Sensor.Hwmon.Enabled == config.On {
			return mustHwmon(err).Error(), false
		}
		return err.Error(), true
	}
	defer func() { _ = r.Close() }() // it never fails
	zones := r.Zones()
	readings := make([]energy.Reading, len(zones))
	r.Read(readings)
	what = "shown, charged to nobody: " + names(zones)
	for i, reading := range readings {
		if reading.Err != nil {
			what += fmt.Sprintf("; %s: %v", zones[i].Path, reading.Err)
		}
	}
	return what, true
}

func mustHwmon(err error) error { return fmt.Errorf("sensor.hwmon.enabled is true: %w", err) }

// maxPower bounds the power of a zone.
func maxPower(kind energy.Kind) energy.Watts {
	if kind == energy.Platform || kind == energy.Device {
		return hwmon.MaxPower
	}
	return rapl.MaxPower(kind)
}
