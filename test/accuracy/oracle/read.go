package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// read gives the text of a file without its last newline.
func read(path ...string) (string, error) {
	b, err := os.ReadFile(filepath.Join(path...))
	return strings.TrimSuffix(string(b), "\n"), err
}

func number(path ...string) (float64, error) {
	text, err := read(path...)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(text, 64)
}

// A reading is everything that one tick reads.
type reading struct {
	zones   map[string]float64 // µJ, by powercap id
	threads map[string]float64 // s, by "pid/tid/start"
	cpuOf   map[string]int     // CPU last run on, likewise
	owner   map[string]string  // account, likewise
	busy    map[int]float64    // s, by CPU
}

// readZones reads the first package first: that is what makes the machine go on.
func (o *oracle) readZones(r *reading) error {
	buf := make([]byte, 64)
	for _, z := range o.zones {
		n, err := z.counter.ReadAt(buf, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if r.zones[z.id], err = strconv.ParseFloat(strings.TrimSpace(string(buf[:n])), 64); err != nil {
			return err
		}
	}
	return nil
}

func (o *oracle) readThreads(r *reading) error {
	stats, err := filepath.Glob(filepath.Join(o.dir, "proc/[0-9]*/task/[0-9]*/stat"))
	if err != nil {
		return err
	}
	for _, path := range stats {
		text, err := read(path)
		if err != nil {
			continue // it has ended
		}
		parts := strings.Split(path, "/")
		pid := parts[len(parts)-4]
		fields := strings.Fields(text[strings.LastIndex(text, ")")+1:]) // from field 3 of proc_pid_stat(5)
		user, _ := strconv.ParseFloat(fields[14-3], 64)
		system, _ := strconv.ParseFloat(fields[15-3], 64)
		key := pid + "/" + parts[len(parts)-2] + "/" + fields[22-3]
		r.threads[key] = (user + system) / 100
		r.cpuOf[key], _ = strconv.Atoi(fields[39-3])
		r.owner[key] = o.accountOf(pid)
	}
	return nil
}

var uuidArgument = regexp.MustCompile(`\x00-uuid\x00([0-9a-f-]{36})\x00`)

// accountOf gives the UUID of a virtual machine, or "".
func (o *oracle) accountOf(pid string) string {
	exe, err := os.Readlink(filepath.Join(o.dir, "proc", pid, "exe"))
	if err != nil || !strings.HasPrefix(filepath.Base(exe), "qemu-system-") {
		return ""
	}
	cmdline, err := read(o.dir, "proc", pid, "cmdline")
	if found := uuidArgument.FindStringSubmatch(cmdline); err == nil && found != nil {
		return found[1]
	}
	return ""
}

func (o *oracle) readBusy(r *reading) error {
	text, err := read(o.dir, "proc/stat")
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		cpu, err := strconv.Atoi(strings.TrimPrefix(fields[0], "cpu"))
		if err != nil {
			continue
		}
		user, _ := strconv.ParseFloat(fields[1], 64)
		system, _ := strconv.ParseFloat(fields[3], 64)
		r.busy[cpu] = (user + system) / 100
	}
	return nil
}

// discover finds zones and the packages of CPUs.
func (o *oracle) discover() error {
	names, err := filepath.Glob(filepath.Join(o.dir, "sys/class/powercap/intel-rapl:*"))
	if err != nil {
		return err
	}
	for _, dir := range names {
		z := zone{id: filepath.Base(dir)}
		if z.kind, err = read(dir, "name"); err != nil {
			return err
		}
		if z.wrap, err = number(dir, "max_energy_range_uj"); err != nil {
			return err
		}
		if _, err := fmt.Sscanf(z.id, "intel-rapl:%d", &z.pkg); err != nil {
			return err
		}
		if z.counter, err = os.Open(filepath.Join(dir, "energy_uj")); err != nil {
			return err
		}
		z.kind, _, _ = strings.Cut(z.kind, "-")
		o.zones = append(o.zones, z)
	}
	cpus, err := filepath.Glob(filepath.Join(o.dir, "sys/devices/system/cpu/cpu[0-9]*"))
	for _, dir := range cpus {
		pkg, err := number(dir, "topology/physical_package_id")
		if err != nil {
			return err
		}
		cpu, _ := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), "cpu"))
		o.pkg[cpu] = int(pkg)
	}
	return err
}
