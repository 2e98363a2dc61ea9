package app

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/hwmon"
	"github.com/scaph/scaph/internal/rapl"
)

// files makes files below a new directory.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range contents {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func withRAPL() map[string]string {
	return map[string]string{
		"class/powercap/intel-rapl:0/name": "package-0\n", "class/powercap/intel-rapl:0/energy_uj": "5000000\n",
		"class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
	}
}

func withBoth() map[string]string {
	all := withRAPL()
	maps.Copy(all, map[string]string{
		"class/hwmon/hwmon0/name": "power_meter\n", "class/hwmon/hwmon0/power1_average": "100000000\n",
		"class/hwmon/hwmon1/name": "ina238\n", "class/hwmon/hwmon1/energy1_input": "7000000\n",
		"class/hwmon/hwmon1/energy1_label": "rail\x1b[2J\n",
	})
	return all
}

func sensorConfig(sysfs string, enabled config.Switch) config.Config {
	c := config.Default()
	c.Host.Sysfs, c.Sensor.Hwmon.Enabled = sysfs, enabled
	return c
}

func TestSensorsAreOne(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	sensor, faults, err := openSensors(sensorConfig(files(t, withBoth()), config.Auto), config.Host, log)
	if err != nil {
		t.Fatal(err)
	}
	zones := sensor.Zones()
	kinds := make([]energy.Kind, len(zones))
	for i, z := range zones {
		kinds[i] = z.Kind
	}
	if !slices.Equal(kinds, []energy.Kind{energy.Package, energy.Platform, energy.Device}) || len(faults) != 1 {
		t.Errorf("%v, %d counters of faults", kinds, len(faults))
	}
	readings := make([]energy.Reading, len(zones)+1)
	sensor.Read(readings)
	if readings[0].Energy != 5*energy.Joule || readings[1].Err != nil || readings[2].Energy != 7*energy.Joule {
		t.Errorf("%+v", readings)
	}
	sensor.Read(readings[:2]) // what does not fit is not read
	if n := testing.AllocsPerRun(100, func() { sensor.Read(readings) }); n > 0 {
		t.Errorf("%v allocations in a read", n)
	}
	if err := sensor.Close(); err != nil {
		t.Error(err)
	}
}

func TestHwmonIsWantedOrNot(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	both, alone := files(t, withBoth()), files(t, withRAPL())
	for _, c := range []struct {
		what    string
		sysfs   string
		enabled config.Switch
		program config.Program
		zones   int // 0: an error
	}{
		{"auto", both, config.Auto, config.Host, 3},
		{"auto, where there is none", alone, config.Auto, config.Host, 1},
		{"true", both, config.On, config.Host, 3},
		{"true, where there is none", alone, config.On, config.Host, 0},
		{"false", both, config.None, config.Host, 1},
		{"a guest", both, config.Auto, config.Guest, 1},
	} {
		sensor, _, err := openSensors(sensorConfig(c.sysfs, c.enabled), c.program, log)
		if c.zones == 0 {
			if !errors.Is(err, hwmon.ErrNone) || !strings.Contains(err.Error(), "sensor.hwmon.enabled") {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		if err != nil || len(sensor.Zones()) != c.zones {
			t.Errorf("%s: %v, %v", c.what, sensor, err)
			continue
		}
		_ = sensor.Close()
	}
	var none *rapl.NoZonesError
	if _, _, err := openSensors(sensorConfig(t.TempDir(), config.Auto), config.Host, log); !errors.As(err, &none) {
		t.Errorf("without RAPL: %v", err)
	}
}

func TestCheckHwmon(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	what, ok := CheckHwmon(sensorConfig(files(t, withBoth()), config.Auto), log)
	if !ok || !strings.Contains(what, "power_meter") || !strings.Contains(what, "ina238") || strings.Contains(what, "\x1b") {
		t.Errorf("%q, %v", what, ok)
	}
	refused := files(t, withBoth())
	if err := os.WriteFile(filepath.Join(refused, "class/hwmon/hwmon0/power1_average"), []byte("4294967295000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if what, ok = CheckHwmon(sensorConfig(refused, config.Auto), log); !ok || !strings.Contains(what, "4294967295000 µW is refused") {
		t.Errorf("%q, %v", what, ok)
	}
	alone := files(t, withRAPL())
	for enabled, fine := range map[config.Switch]bool{config.Auto: true, config.On: false} {
		what, ok = CheckHwmon(sensorConfig(alone, enabled), log)
		if ok != fine || !strings.Contains(what, "no energy or power sensor in "+alone) {
			t.Errorf("%s: %q, %v", enabled, what, ok)
		}
	}
}

// A floor belongs to a zone that is split.
func TestFloorOfWhatNothingSplits(t *testing.T) {
	c := config.Default()
	c.Attribution.IdleWatts = map[string]float64{"package-0": 1, "power_meter": 2}
	zones := []energy.Zone{{Name: "package-0"}, {Name: "power_meter", Kind: energy.Platform, Split: energy.ByNothing}}
	if got := unknownFloors(c, zones); got != `"power_meter"` {
		t.Errorf("%s", got)
	}
}
