package hwmon

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

func TestAbsurdReadingsAreRefused(t *testing.T) {
	b := newBench(t, extract(t, "server"), "power_meter")
	b.at(t, 0, "100000000\n")
	before := b.at(t, 2*time.Second, "100000000\n")
	if before.Energy != 200*energy.Joule || before.Err != nil {
		t.Fatalf("%+v", before)
	}
	absurd := []string{
		"4294967295000\n", "4294967295\n", "2147483647\n", "-1\n", "", "\n", "garbage\n", "100 W\n", "1e6\n", "+5\n", "0x10\n", " 7\n", "1_000\n",
		"18446744073709551616\n", "100000000001\n", "100\x00\x00\n", strings.Repeat("1", 500),
	}
	for i, value := range absurd {
		got := b.at(t, time.Second/10, value)
		if got.Err == nil || got.Energy != 0 {
			t.Errorf("%.40q is taken: %+v", value, got)
		}
		if len(got.Err.Error()) > 300 {
			t.Errorf("%.40q: an error of %d bytes", value, len(got.Err.Error()))
		}
		if n := b.faults.Load(); n != uint64(i+1) {
			t.Errorf("%.40q: %d faults, want %d", value, n, i+1)
		}
	}
	after := b.at(t, time.Second/2, "100000000\n")
	if want := 420 * energy.Joule; after.Err != nil || after.Energy != want { // 2.2 s of 100 W more
		t.Errorf("afterwards %+v, want %v", after, want)
	}
}

func TestAbsurdCountersAreRefused(t *testing.T) {
	b := newBench(t, extract(t, "server"), "ina238")
	for _, value := range []string{"-5\n", "", "18446744073709551615\n", "9223372036854775808\n"} {
		if got := b.at(t, time.Second, value); got.Err == nil {
			t.Errorf("%q is taken: %+v", value, got)
		}
	}
	if got := b.at(t, time.Second, "9000000\n"); got.Err != nil || got.Energy != 9*energy.Joule || b.faults.Load() != 4 {
		t.Errorf("%+v, %d faults", got, b.faults.Load())
	}
}

// A device that is taken out and comes back under another number is the same one.
func TestDeviceComesBackUnderAnotherNumber(t *testing.T) {
	sysfs := extract(t, "server")
	b := newBench(t, sysfs, "amdgpu")
	b.at(t, 0, "40000000\n")
	b.at(t, time.Second, "40000000\n")

	device := filepath.Join(sysfs, "devices/pci0000:00/0000:00:03.1/0000:0a:00.0")
	class := filepath.Join(sysfs, "class/hwmon")
	must(t, os.Remove(filepath.Join(class, "hwmon2")))
	must(t, os.Rename(filepath.Join(device, "hwmon/hwmon2"), filepath.Join(device, "hwmon/hwmon7")))
	b.clock += time.Second
	b.poll(b.channels)
	if got := b.reading(0); got.Err == nil || b.faults.Load() != 1 {
		t.Errorf("while it is away: %+v, %d faults", got, b.faults.Load())
	}
	// Its old number is another chip's now.
	must(t, os.Symlink("../../devices/platform/coretemp.0/hwmon/hwmon0", filepath.Join(class, "hwmon2")))
	must(t, os.Symlink("../../devices/pci0000:00/0000:00:03.1/0000:0a:00.0/hwmon/hwmon7", filepath.Join(class, "hwmon7")))
	b.clock += time.Second
	b.poll(b.channels) // finds it
	b.clock += time.Second
	b.poll(b.channels)
	if got := b.reading(0); got.Err != nil || got.Energy != 160*energy.Joule || got.Age != 0 {
		t.Errorf("back again: %+v, want 4 s of 40 W", got)
	}
}

// A device that stays away for long has used what nobody knows.
func TestNothingIsInventedOverAGap(t *testing.T) {
	b := newBench(t, extract(t, "server"), "amdgpu")
	b.at(t, 0, "40000000\n")
	b.at(t, time.Second, "40000000\n")
	if got := b.at(t, longestSpan+1, "90000000\n"); got.Energy != 40*energy.Joule || b.faults.Load() != 1 {
		t.Errorf("%+v, %d faults", got, b.faults.Load())
	}
	if got := b.at(t, time.Second, "90000000\n"); got.Energy != 130*energy.Joule {
		t.Errorf("%+v", got)
	}
}

// A read that blocks delays neither Open nor Read nor Close, nor another device.
func TestSlowDeviceDelaysNothing(t *testing.T) {
	sysfs := extract(t, "server")
	blocked, release := make(chan struct{}, 1), make(chan struct{})
	defer close(release)
	clock := make(chan time.Duration, 1)
	clock <- time.Minute
	set := func(to time.Duration) { <-clock; clock <- to }
	r, err := Open(sysfs, quiet, func(o *options) {
		o.read = func(path string, p []byte) (int, error) {
			if strings.HasSuffix(path, "power1_average") && strings.Contains(path, "hwmon1") {
				select {
				case blocked <- struct{}{}:
				default:
				}
				<-release
			}
			return readFile(path, p)
		}
		o.now = func() time.Duration { now := <-clock; clock <- now; return now }
	})
	must(t, err)
	<-blocked
	readings := make([]energy.Reading, len(r.Zones()))
	const bound = 10 * time.Second // for the scheduler; a wait for the device would last for ever
	begin := time.Now()
	r.Read(readings)
	if took := time.Since(begin); took > bound {
		t.Errorf("Read took %v", took)
	}
	if !errors.Is(readings[0].Err, errNoAnswer) || readings[2].Err != nil {
		t.Errorf("%+v, %+v", readings[0], readings[2])
	}
	if r.Faults() != 0 {
		t.Errorf("%d faults before the device is late", r.Faults())
	}
	set(time.Minute + silence + time.Second)
	for range 3 {
		r.Read(readings)
		if err := readings[0].Err; err == nil || !strings.Contains(err.Error(), "6s") {
			t.Errorf("silent: %v", err)
		}
	}
	if r.Faults() != 1 {
		t.Errorf("%d faults of a silent device", r.Faults())
	}
	begin = time.Now()
	must(t, r.Close())
	if took := time.Since(begin); took > lastAnswer+bound {
		t.Errorf("Close took %v", took)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	r, err := Open(extract(t, "server"), quiet)
	must(t, err)
	defer func() { must(t, r.Close()) }()
	readings := make([]energy.Reading, len(r.Zones()))
	if n := testing.AllocsPerRun(100, func() { r.Read(readings) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzReading(f *testing.F) {
	for _, s := range []string{"312000000\n", "", "-1", "4294967295000\n", "99999999999999999999", "1\n2\n", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		read := func(_ string, p []byte) (int, error) { return copy(p, content), nil }
		v, err := readNumber(read, "file")
		if err != nil {
			return
		}
		if text := strings.TrimSuffix(content, "\n"); strings.TrimLeft(text, "0") != strings.TrimLeft(strconv.FormatUint(v, 10), "0") {
			t.Errorf("%q is taken for %d", content, v)
		}
		if quantityPower.refuse(v) == nil && energy.Watts(v)/1e6 > MaxPower {
			t.Errorf("%d µW is not refused", v)
		}
	})
}
