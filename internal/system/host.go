package system

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/series"
)

func (c *Collector) proc(name ...string) string {
	return filepath.Join(append([]string{c.options.Procfs}, name...)...)
}

// readLoad reads loadavg, proc_loadavg(5).
func (c *Collector) readLoad() *[3]float64 {
	text, err := os.ReadFile(c.proc("loadavg"))
	fields := bytes.Fields(text)
	if err != nil || len(fields) < 3 {
		return nil
	}
	var load [3]float64
	for i := range load {
		if load[i], err = strconv.ParseFloat(string(fields[i]), 64); err != nil {
			return nil
		}
	}
	return &load
}

// readFrequency reads the frequency of the first CPU. To ask for that of all would wake all of them.
func (c *Collector) readFrequency() float64 {
	if text, err := os.ReadFile(filepath.Join(c.options.Sysfs, "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")); err == nil {
		if kHz, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64); err == nil {
			return kHz / 1000
		}
	}
	file, err := os.Open(c.proc("cpuinfo"))
	if err != nil {
		return 0
	}
	defer file.Close()
	first := make([]byte, 4096) // of some MB
	n, _ := io.ReadFull(file, first)
	for line := range strings.Lines(string(first[:n])) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "cpu MHz" {
			if mhz, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && strings.HasSuffix(line, "\n") {
				return mhz
			}
		}
	}
	return 0
}

// readMemory reads meminfo, proc_meminfo(5).
func (c *Collector) readMemory() *series.Memory {
	text, err := os.ReadFile(c.proc("meminfo"))
	if err != nil {
		return nil
	}
	var m series.Memory
	want := map[string]*uint64{
		"MemTotal": &m.Total, "MemAvailable": &m.Available, "MemFree": &m.Free, "SwapTotal": &m.SwapTotal, "SwapFree": &m.SwapFree,
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if to := want[key]; to != nil {
			kB, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 54)
			if err != nil {
				return nil
			}
			*to = kB << 10
		}
	}
	if m.Total == 0 {
		return nil
	}
	return &m
}

// readKernel reads the counters of stat, proc_stat(5).
func (c *Collector) readKernel() *series.KernelCounters {
	text, err := os.ReadFile(c.proc("stat"))
	if err != nil {
		return nil
	}
	var k series.KernelCounters
	var boot uint64
	want := map[string]*uint64{
		"processes": &k.Forks, "ctxt": &k.ContextSwitches, "procs_running": &k.Running, "procs_blocked": &k.Blocked, "btime": &boot,
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, " ")
		if to := want[key]; to != nil {
			if *to, err = strconv.ParseUint(strings.TrimSpace(value), 10, 64); err != nil {
				return nil
			}
			delete(want, key)
		}
	}
	if len(want) > 0 {
		return nil
	}
	k.Boot = time.Unix(int64(boot), 0)
	return &k
}

// readSelf reads what this process uses.
func (c *Collector) readSelf(now time.Time) *series.ProcessUse {
	u := &series.ProcessUse{}
	// Its own /proc: the host's, in a container, knows it by another number.
	if !readMemoryOf("/proc/self/statm", u) {
		return nil
	}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return nil
	}
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	u.CPUPercent = c.percent(cpu-c.self, now, c.at)
	c.self, c.at = cpu, now
	return u
}
