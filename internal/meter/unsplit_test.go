package meter

import (
	"errors"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/snapshot"
)

// A boxSensor is a world's sensor with a platform, whose power is integrated, and a device that
// counts.
type boxSensor struct {
	worldSensor
	box, device energy.Reading
	gone        bool // the device
}

func (s *boxSensor) Zones() []energy.Zone {
	beside := func(path string, kind energy.Kind) energy.Zone {
		return energy.Zone{
			Path: path, Name: path, Kind: kind, Package: -1, Die: -1, Source: energy.SourceHwmon, Split: energy.ByNothing,
			Integrated: kind == energy.Platform,
		}
	}
	// Between the others, as nothing says that they come last.
	zones := append([]energy.Zone{beside("hwmon:box", energy.Platform)}, s.zones...)
	if s.gone {
		return zones
	}
	return append(zones, beside("hwmon:device", energy.Device))
}

func (s *boxSensor) Read(dst []energy.Reading) {
	dst[0] = s.box
	s.worldSensor.Read(dst[1 : 1+len(s.zones)])
	if !s.gone {
		dst[1+len(s.zones)] = s.device
	}
}

func (s *boxSensor) start(t testing.TB) *Meter {
	t.Helper()
	o := s.options()
	o.Sensor = s
	o.MaxPower = func(energy.Kind) energy.Watts { return 100_000 }
	m, err := New(o, s.kept, s.ahead)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// second lets a second pass at 300 W and 50 W, in which the integral may be off by 2 J.
func (s *boxSensor) second(m *Meter) *snapshot.Snapshot {
	s.pass(time.Second, []energy.Watts{40, 10, 5}, map[proc.ID]time.Duration{{PID: 1}: time.Second})
	s.box.Energy += 300 * energy.Joule
	s.box.Bound += 2 * energy.Joule
	s.device.Energy += 50 * energy.Joule
	m.Tick()
	return m.Latest()
}

func zoneAt(t testing.TB, s *snapshot.Snapshot, path string) *snapshot.Zone {
	t.Helper()
	for i := range s.Zones {
		if s.Zones[i].Path == path {
			return &s.Zones[i]
		}
	}
	t.Fatalf("no zone %s in %v", path, s.Zones)
	return nil
}

func newBox() *boxSensor {
	w := newWorld()
	w.totals[proc.ID{PID: 1}] = 0
	w.comms[proc.ID{PID: 1}] = "worker"
	return &boxSensor{worldSensor: worldSensor{w}, device: energy.Reading{Energy: 1e15}}
}

// What nothing splits is shown with its power, and is in no sum and no row.
func TestZonesThatNothingSplits(t *testing.T) {
	b := newBox()
	m := b.start(t)
	m.Tick()
	var s *snapshot.Snapshot
	for range 20 {
		s = b.second(m)
		identity(t, s)
	}
	box, device := zoneAt(t, s, "hwmon:box"), zoneAt(t, s, "hwmon:device")
	if box.Total != 6000*energy.Joule || box.Bound != 40*energy.Joule || box.Power != 300 || box.Attributed {
		t.Errorf("the box: %+v", box)
	}
	if device.Total != 1000*energy.Joule || device.Bound != 0 || device.Power != 50 || device.Failed || device.Frozen {
		t.Errorf("the device: %+v", device)
	}
	if s.Host.Power != 45 || s.Host.Source != energy.SourcePowercap || len(s.Host.Sources) != 1 {
		t.Errorf("the host: %+v", s.Host)
	}
	if s.Basis != energy.PackageBasis || s.Charged() != energy.PackageBasis.With(energy.Core) {
		t.Errorf("basis %v, charged %v", s.Basis, s.Charged())
	}
	for _, u := range s.Unattributed {
		if !energy.PackageBasis.Has(u.Kind) {
			t.Errorf("unattributed of %v", u.Kind)
		}
	}
}

// They need no CPU time, and one that cannot be read has no power and is counted by its sensor, not
// by the meter.
func TestFaultsOfZonesThatNothingSplits(t *testing.T) {
	b := newBox()
	faults := uint64(0)
	m := b.start(t)
	m.Faults = []Fault{{"hwmon", func() uint64 { return faults }}}
	m.Tick()
	b.second(m)
	b.noCPU = true
	if s := b.second(m); zoneAt(t, s, "hwmon:box").Total != 600*energy.Joule || zoneAt(t, s, "hwmon:box").Power != 300 {
		t.Errorf("without CPU time: %+v", zoneAt(t, s, "hwmon:box"))
	}
	b.noCPU = false
	was := b.box
	b.box, faults = energy.Reading{Err: errors.New("4294967295000 µW is refused")}, 3
	b.pass(time.Second, []energy.Watts{40, 10, 5}, nil)
	m.Tick()
	s := m.Latest()
	if box := zoneAt(t, s, "hwmon:box"); !box.Failed || box.Power != 0 || box.Total != 600*energy.Joule {
		t.Errorf("refused: %+v", box)
	}
	for _, e := range s.Errors {
		if e.Component == "sensor" || e.Component == "hwmon" && e.Count != 3 {
			t.Errorf("%+v", e)
		}
	}
	b.box = was
	if s := b.second(m); zoneAt(t, s, "hwmon:box").Failed || zoneAt(t, s, "hwmon:box").Total != 900*energy.Joule {
		t.Errorf("read again: %+v", zoneAt(t, s, "hwmon:box"))
	}
}

// The Age of a reading places it in time: a value found half a second ago is not of now.
func TestAgeOfAReading(t *testing.T) {
	b := newBox()
	m := b.start(t)
	m.Tick()
	b.second(m)
	b.box.Age = time.Second / 2
	s := b.second(m)
	if box := zoneAt(t, s, "hwmon:box"); box.Power != 600 { // 300 J in half a second
		t.Errorf("%+v", box)
	}
}

// Totals go on over restarts: what the kernel counts by the gap, what the sensor integrates without
// it. A zone that is not there any more keeps its total, and goes on when it is.
func TestRestartWithZonesThatNothingSplits(t *testing.T) {
	b := newBox()
	m := b.start(t)
	m.Tick()
	for range 5 {
		b.second(m)
	}
	restart := func() {
		b.box = energy.Reading{} // a new integral
		m = b.start(t)
		m.Tick()
		identity(t, m.Latest())
	}
	b.device.Energy += 7 * energy.Joule // while it is away
	restart()
	s := m.Latest()
	box, device := zoneAt(t, s, "hwmon:box"), zoneAt(t, s, "hwmon:device")
	if box.Total != 1500*energy.Joule || box.Bound != 10*energy.Joule || box.Resets != 0 {
		t.Errorf("the box: %+v", box)
	}
	if device.Total != 257*energy.Joule || device.Resets != 0 {
		t.Errorf("the device: %+v", device)
	}
	b.gone = true
	restart()
	if device := zoneAt(t, m.Latest(), "hwmon:device"); device.Total != 257*energy.Joule || !device.Missing || device.Power != 0 {
		t.Errorf("gone: %+v", device)
	}
	b.gone = false
	restart()
	s = b.second(m)
	if device := zoneAt(t, s, "hwmon:device"); device.Total != 307*energy.Joule || device.Missing || device.Kind != energy.Device {
		t.Errorf("back: %+v", device)
	}
	if box := zoneAt(t, s, "hwmon:box"); box.Total != 1800*energy.Joule || box.Bound != 12*energy.Joule || box.Kind != energy.Platform {
		t.Errorf("the box: %+v", box)
	}

	// A reboot: the device counts from 0.
	b.bootID, b.device.Energy = "second", 3*energy.Joule
	restart()
	if device := zoneAt(t, m.Latest(), "hwmon:device"); device.Total != 307*energy.Joule || device.Resets != 0 {
		t.Errorf("after a reboot: %+v", device)
	}
}

// A power cut takes the newest state: no total falls below what was shown, since the older one was
// written ahead.
func TestPowerCutWithZonesThatNothingSplits(t *testing.T) {
	b := newBox()
	m := b.start(t)
	m.Tick()
	for range 7 {
		b.second(m)
	}
	before := m.Latest()
	b.kept, b.box = nil, energy.Reading{}
	m = b.start(t)
	m.Tick()
	for _, path := range []string{"hwmon:box", "hwmon:device"} {
		was, is := zoneAt(t, before, path), zoneAt(t, m.Latest(), path)
		if is.Total < was.Total || is.Bound < was.Bound {
			t.Errorf("%s falls: %v ± %v, then %v ± %v", path, was.Total, was.Bound, is.Total, is.Bound)
		}
	}
}

// A state of the version before knows no such zones, and goes on.
func TestStateOfVersion3(t *testing.T) {
	b := newBox()
	m := b.world.start(t)
	m.Tick()
	b.pass(time.Second, []energy.Watts{40, 10, 5}, map[proc.ID]time.Duration{{PID: 1}: time.Second})
	m.Tick()
	body := b.kept[:len(b.kept)-4]
	if body[len(stateMagic)] != '4' || body[len(body)-1] != 0 {
		t.Fatal("a state of this version ends with the number of its zones that nothing splits")
	}
	old := encoder{b: body[:len(body)-1]}
	old.b[len(stateMagic)] = '3'
	b.kept, b.ahead = old.seal(), nil
	m = b.start(t)
	m.Tick()
	if s := m.Latest(); s.Host.Energy != 45*energy.Joule || len(s.Errors) != 0 {
		t.Errorf("%v, %+v", s.Host.Energy, s.Errors)
	}
}

// Zones that nothing splits are nothing to measure by.
func TestSensorWithoutAnythingToSplit(t *testing.T) {
	b := newBox()
	o := b.options()
	b.zones = nil
	o.Sensor = b
	if _, err := New(o); !errors.Is(err, ErrNothingToMeasure) {
		t.Errorf("%v", err)
	}
}
