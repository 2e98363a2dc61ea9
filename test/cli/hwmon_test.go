package cli

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scaph/scaph/test/metrics"
)

// A meterBox is a simulated ACPI power meter of a service's machine, as class/hwmon links to it.
type meterBox struct{ class, device string }

func (s *service) addMeterBox(number int) *meterBox {
	s.t.Helper()
	b := &meterBox{class: filepath.Join(s.machine.sysfs, "class/hwmon"), device: filepath.Join(s.machine.sysfs, "devices/LNXSYSTM:00/ACPI000D:00")}
	if err := os.MkdirAll(b.class, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := b.plug(number, "100000000\n"); err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (b *meterBox) dir(number int) string {
	return filepath.Join(b.device, "hwmon", fmt.Sprintf("hwmon%d", number))
}

// plug makes the chip, under a number of the kernel's; unplug takes it away.
func (b *meterBox) plug(number int, power string) error {
	dir := b.dir(number)
	return errors.Join(
		os.MkdirAll(dir, 0o755),
		os.Symlink("../..", filepath.Join(dir, "device")),
		os.WriteFile(filepath.Join(dir, "name"), []byte("power_meter\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "power1_average"), []byte(power), 0o644),
		os.Symlink(filepath.Join("../../devices/LNXSYSTM:00/ACPI000D:00/hwmon", filepath.Base(dir)), filepath.Join(b.class, filepath.Base(dir))),
	)
}

func (b *meterBox) unplug(number int) error {
	return errors.Join(os.Remove(filepath.Join(b.class, fmt.Sprintf("hwmon%d", number))), os.RemoveAll(b.dir(number)))
}

// set replaces the power in one step, so that a reader sees the old or the new one.
func (b *meterBox) set(number int, power string) error {
	path := filepath.Join(b.dir(number), "power1_average")
	return errors.Join(os.WriteFile(path+"~", []byte(power), 0o644), os.Rename(path+"~", path))
}

// A simulated power meter of the box is shown beside RAPL's zones and charged to nobody; it goes on
// under another number and after a kill, and what it shows that cannot be is refused and counted.
func TestPowerMeterOfTheBox(t *testing.T) {
	t.Parallel()
	s := newService(t)
	box := s.addMeterBox(0)
	s.start()
	const path = "hwmon:LNXSYSTM:00/ACPI000D:00/power_meter/power1"
	total := func() float64 { return s.joules("scaph_zone_energy_joules_total", "path", path) }
	power := func() float64 { return s.joules("scaph_zone_power_watts", "path", path) }
	refused := func() float64 { return s.joules("scaph_errors_total", "component", "hwmon") }

	s.await("energy of the box", func() bool { return total() >= 100 })
	if p := power(); p < 50 || p > 200 { // by the clock of a busy machine
		t.Errorf("%v W, the box shows 100", p)
	}
	s.give(10)
	s.awaitHost(20) // RAPL's, and nothing of the box
	scrape, err := metrics.Fetch(t.Context(), http.DefaultClient, s.url+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, sample := range scrape.Samples {
		if sample.Labels["zone"] == "platform" && !strings.HasPrefix(sample.Name, "scaph_zone_") {
			t.Errorf("%v", sample)
		}
	}
	if found := scrape.Find("scaph_zone_info", "path", path, "split", "nothing", "source", "hwmon", "zone", "platform", "name", "power_meter"); len(found) != 1 {
		t.Errorf("scaph_zone_info: %v", found)
	}
	if found := scrape.Find("scaph_zone_energy_bound_joules_total", "path", path); len(found) != 1 {
		t.Errorf("the bound of its error: %v", found)
	}

	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(box.set(0, "4294967295000\n"))
	s.await("a refused reading", func() bool { return refused() > 0 && power() == 0 })
	before := total()
	must(box.unplug(0))
	must(box.plug(5, "100000000\n"))
	s.await("energy of the box under another number", func() bool { return total() > before && power() > 0 })

	before = total()
	must(s.process.Process.Kill())
	_ = s.process.Wait()
	s.start()
	s.await("the first tick after a kill", func() bool { return total() >= 0 })
	if got := total(); got < before {
		t.Errorf("%v J after a kill, %v before it", got, before)
	}
	before = total()
	s.await("more energy of the box", func() bool { return total() > before })
	if n := s.joules("scaph_zone_resets_total", "path", path); n != 0 {
		t.Errorf("%v resets: a restart is none", n)
	}
}

// A meter that is plugged in while the service runs is found, as a new zone of RAPL is.
func TestPowerMeterThatComesLater(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start()
	s.give(10)
	s.awaitHost(20)
	if s.joules("scaph_zone_energy_joules_total", "zone", "platform") >= 0 {
		t.Error("a platform before there is one")
	}
	s.addMeterBox(3)
	s.await("the box's zone", func() bool { return s.joules("scaph_zone_energy_joules_total", "zone", "platform") > 0 })
	if got := s.joules(hostEnergy); got != 20 {
		t.Errorf("the host shows %v J, want 20", got)
	}
}
