// Package estimate is a sensor for machines without RAPL. It measures no energy: it computes some from the
// time that the CPUs were busy, by the simplest model there is,
//
//	power = idle_watts + (max_watts − idle_watts) × utilisation
//
// and each of its zones says so (energy.SourceEstimate). The two watts are what a power meter at the
// wall, or the data sheet, shows for the machine at rest and with every CPU busy.
//
// The model knows nothing of frequencies, of the kind of work, or of turbo modes, which make real power
// differ from it by tens of percent. Utilisation is the busy part of the CPU time that the first line of
// /proc/stat counts (proc_stat(5)), in steps of 10 ms per CPU.
package estimate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// MaxWatts bounds the powers that New accepts: a megawatt is no machine but a slip of the unit.
const MaxWatts energy.Watts = 1e6

// A Sensor is one estimated zone, package-0, that stands for the whole machine. It is used by one goroutine at a time.
type Sensor struct {
	stat      string // path of /proc/stat
	idle, max energy.Watts
	now       func() time.Time

	last  cpuTime   // at the last step of the counter
	at    time.Time // when that was
	count energy.Microjoules
	rest  float64 // µJ, below 1: what count does not hold yet
}

// New makes a sensor that reads <procfs>/stat and takes the time from now, a clock
// that does not go back. idle and most are the machine's
// power at rest and with all CPUs busy: 0 ≤ idle ≤ most ≤ MaxWatts, most > 0.
//
// The counter starts at 0: unlike one in hardware it does not go on while the program is away.
func New(procfs string, idle, most energy.Watts, now func() time.Time) (*Sensor, error) {
	switch {
	case !(idle >= 0 && idle <= MaxWatts): // also not a number
		return nil, fmt.Errorf("estimate: idle power is %g W, want 0 to %g", float64(idle), float64(MaxWatts))
	case !(most > 0 && most <= MaxWatts):
		return nil, fmt.Errorf("estimate: full-load power is %g W, want more than 0, at most %g", float64(most), float64(MaxWatts))
	case idle > most:
		return nil, fmt.Errorf("estimate: idle power (%v) is above full-load power (%v): are they swapped?", idle, most)
	}
	s := &Sensor{stat: filepath.Join(procfs, "stat"), idle: idle, max: most, now: now}
	t, err := readCPUTime(s.stat)
	if err != nil {
		return nil, fmt.Errorf("estimate: %w", err)
	}
	s.last, s.at = t, now()
	return s, nil
}

// Zones gives the one zone. Its Range is 0: the counter never wraps (64 bits of µJ).
func (s *Sensor) Zones() []energy.Zone {
	return []energy.Zone{{
		Path: "estimate:0", Name: "package-0", Kind: energy.Package, Package: 0, Die: -1, Source: energy.SourceEstimate,
	}}
}

// Read puts the energy since New into the first element of dst, if there is one. The counter never goes
// back. When /proc/stat cannot be read, the time until it can is covered by the next good reading.
func (s *Sensor) Read(dst []energy.Reading) {
	if len(dst) == 0 {
		return
	}
	if err := s.step(); err != nil {
		dst[0] = energy.Reading{Err: fmt.Errorf("estimate: %w", err)}
		return
	}
	dst[0] = energy.Reading{Energy: s.count}
}

// step counts the energy since the last step. Between two ticks of the kernel's clock no CPU time
// passes and no utilisation is known: the step then waits, and a later one covers its time as well.
func (s *Sensor) step() error {
	t, err := readCPUTime(s.stat)
	if err != nil {
		return err
	}
	now := s.now()
	// A time that fell is where to go on from: iowait may fall, and all do when CPUs are taken away (proc_stat(5)).
	s.last.busy, s.last.idle = min(s.last.busy, t.busy), min(s.last.idle, t.idle)
	busy, idle := t.busy-s.last.busy, t.idle-s.last.idle
	elapsed := now.Sub(s.at)
	if busy+idle == 0 || elapsed <= 0 {
		return nil
	}
	utilisation := float64(busy) / (float64(busy) + float64(idle))
	power := float64(s.idle) + float64(s.max-s.idle)*utilisation
	whole, rest := math.Modf(s.rest + power*elapsed.Seconds()*1e6)
	s.count += energy.Microjoules(whole)
	s.rest, s.last, s.at = rest, t, now
	return nil
}

// Close does nothing: no file is kept open.
func (s *Sensor) Close() error { return nil }

// A cpuTime is the CPU time of all CPUs since boot, in clock ticks.
type cpuTime struct {
	busy uint64 // user, nice, system, irq, softirq, steal
	idle uint64 // idle, iowait
}

// readCPUTime reads the first line of a /proc/stat.
func readCPUTime(path string) (cpuTime, error) {
	f, err := os.Open(path)
	if err != nil {
		return cpuTime{}, err
	}
	defer func() { _ = f.Close() }()
	var buf [512]byte // the line has at most ten numbers of 20 digits
	n, err := f.Read(buf[:])
	if err != nil && !errors.Is(err, io.EOF) {
		return cpuTime{}, err
	}
	line, _, whole := bytes.Cut(buf[:n], []byte("\n"))
	t, ok := parseCPUTime(line)
	if !whole || !ok {
		return cpuTime{}, fmt.Errorf("%s: the first line is %.80q, want \"cpu\" and its times", path, line)
	}
	return t, nil
}

// parseCPUTime takes apart "cpu  user nice system idle [iowait [irq softirq [steal [guest guest_nice]]]]". Guest times are
// within user and nice already.
func parseCPUTime(line []byte) (t cpuTime, ok bool) {
	const idle, iowait, steal = 3, 4, 7
	name, fields := "", 0
	for field := range bytes.FieldsSeq(line) {
		if name == "" {
			if name = string(field); name != "cpu" {
				return cpuTime{}, false
			}
			continue
		}
		v, err := strconv.ParseUint(string(field), 10, 60) // the sum of eight has room in 64 bits
		if err != nil {
			return cpuTime{}, false
		}
		switch {
		case fields == idle || fields == iowait:
			t.idle += v
		case fields <= steal:
			t.busy += v
		}
		fields++
	}
	return t, fields > idle
}
