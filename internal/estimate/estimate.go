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
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/scaph/scaph/internal/energy"
)

// MaxWatts bounds the powers that New accepts: a megawatt is no machine but a slip of the unit.
const MaxWatts energy.Watts = 1e6

// A Sensor is one estimated zone, package-0, that stands for the whole machine. It is used by one goroutine at a time.
type Sensor struct {
	stat      string // path of /proc/stat
	idle, max energy.Watts
	count     energy.Microjoules // the highest value so far
	last      cpuTime            // that was read
	shift     int64              // µJ, of the counter, because CPUs came or went
}

// New makes a sensor that reads <procfs>/stat. idle and most are the machine's power at rest and with all
// CPUs busy: 0 ≤ idle ≤ most ≤ MaxWatts, most > 0.
//
// The counter is a function of the machine's CPU time since boot alone, so, like one in hardware, it goes
// on while the program is away. CPUs that come or go change the function, and the counter goes on from where it was; only
// the next run of the program sees it jump.
func New(procfs string, idle, most energy.Watts) (*Sensor, error) {
	switch {
	case !(idle >= 0 && idle <= MaxWatts): // also not a number
		return nil, fmt.Errorf("estimate: idle power is %g W, want 0 to %g", float64(idle), float64(MaxWatts))
	case !(most > 0 && most <= MaxWatts):
		return nil, fmt.Errorf("estimate: full-load power is %g W, want more than 0, at most %g", float64(most), float64(MaxWatts))
	case idle > most:
		return nil, fmt.Errorf("estimate: idle power (%v) is above full-load power (%v): are they swapped?", idle, most)
	}
	s := &Sensor{stat: filepath.Join(procfs, "stat"), idle: idle, max: most}
	if _, err := readCPUTime(s.stat); err != nil {
		return nil, fmt.Errorf("estimate: %w", err)
	}
	return s, nil
}

// Zones gives the one zone. Its Range is 0: the counter never wraps (64 bits of µJ).
func (s *Sensor) Zones() []energy.Zone {
	return []energy.Zone{{
		Path: "estimate:0", Name: "package-0", Kind: energy.Package, Package: 0, Die: -1, Source: energy.SourceEstimate,
	}}
}

// Read puts the energy since the machine's boot into the first element of dst, if there is one. Between two ticks of
// the kernel's clock it stands still, and it never goes back: where the machine's CPU time does (iowait
// may fall, and all times do when CPUs are taken away, proc_stat(5)), it waits.
func (s *Sensor) Read(dst []energy.Reading) {
	if len(dst) == 0 {
		return
	}
	t, err := readCPUTime(s.stat)
	if err != nil {
		dst[0] = energy.Reading{Err: fmt.Errorf("estimate: %w", err)}
		return
	}
	if s.last.cpus != 0 && t.cpus != s.last.cpus {
		was := s.energyOf(s.last)
		s.last.cpus = t.cpus
		s.shift += int64(was) - int64(s.energyOf(s.last))
	}
	s.last = t
	s.count = energy.Microjoules(max(int64(s.count), int64(s.energyOf(t))+s.shift))
	dst[0] = energy.Reading{Energy: s.count}
}

// energyOf gives what the machine has used in so much CPU time: each CPU has an equal part of the power,
// and its part is the full load's while it is busy, and the idle machine's else.
func (s *Sensor) energyOf(t cpuTime) energy.Microjoules {
	const tick = 1e6 / 100 // µs; USER_HZ is 100
	return energy.Microjoules((float64(s.max)*float64(t.busy) + float64(s.idle)*float64(t.idle)) * tick / float64(t.cpus))
}

// Close does nothing: no file is kept open.
func (s *Sensor) Close() error { return nil }

// A cpuTime is the CPU time of all CPUs since boot, in clock ticks.
type cpuTime struct {
	busy uint64 // user, nice, system, irq, softirq, steal
	idle uint64 // idle, iowait
	cpus int    // that are online
}

// readCPUTime reads the first lines of a /proc/stat: the sum, and one for each CPU that is online.
func readCPUTime(path string) (cpuTime, error) {
	f, err := os.Open(path)
	if err != nil {
		return cpuTime{}, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Scan()
	first := bytes.Clone(lines.Bytes())
	t, ok := parseCPUTime(first)
	for lines.Scan() && bytes.HasPrefix(lines.Bytes(), []byte("cpu")) {
		t.cpus++
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return cpuTime{}, err
	}
	if !ok || t.cpus == 0 {
		return cpuTime{}, fmt.Errorf("%s: the first line is %.80q, want \"cpu\" and its times, and after it a line for each CPU", path, first)
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
