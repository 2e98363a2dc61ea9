package cputime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A CPU is one logical processor and its place in the machine.
type CPU struct {
	Number  int // as in cpuN
	Package int // physical package (socket) id; -1 where it is not known, as of a CPU that is offline
	Die     int // die id within the package
}

// ReadTopology lists the machine's CPUs in ascending order from
// <sysfs>/devices/system/cpu/cpuN/topology/{physical_package_id,die_id}
// (Documentation/admin-guide/cputopology.rst). One that says -1, and a die_id that is missing, means 0: such machines have
// one as far as anybody can tell. Where sysfs lists no CPUs, the lines of <procfs>/stat do. A CPU that is offline has
// no physical_package_id, and so its place is not known; see Domains.
func ReadTopology(sysfs, procfs string) ([]CPU, error) {
	numbers, sysErr := listedCPUs(sysfs)
	if len(numbers) == 0 {
		text, err := os.ReadFile(filepath.Join(procfs, "stat"))
		if err != nil {
			return nil, fmt.Errorf("list the CPUs: %w", errors.Join(sysErr, err))
		}
		parseCPULines(text, func(cpu int, _, _ uint64) { numbers = append(numbers, cpu) })
	}
	if len(numbers) == 0 {
		return nil, fmt.Errorf("list the CPUs: none in %s or %s",
			filepath.Join(sysfs, cpuDirectory), filepath.Join(procfs, "stat"))
	}
	cpus := make([]CPU, len(numbers))
	for i, n := range numbers {
		cpus[i] = readCPU(sysfs, n)
	}
	return cpus, nil
}

const cpuDirectory = "devices/system/cpu"

// maxCPU bounds the CPU numbers that are believed; the kernel's own limit (CONFIG_NR_CPUS) is 8192.
const maxCPU = 1 << 14

// listedCPUs gives the numbers N of the directories cpuN, ascending.
func listedCPUs(sysfs string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(sysfs, cpuDirectory))
	if err != nil {
		return nil, err
	}
	var present [maxCPU]bool
	for _, e := range entries {
		if digits, ok := strings.CutPrefix(e.Name(), "cpu"); ok {
			if n, err := strconv.ParseUint(digits, 10, 32); err == nil && n < maxCPU {
				present[n] = true
			}
		}
	}
	var numbers []int
	for n, ok := range present {
		if ok {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

func readCPU(sysfs string, number int) CPU {
	dir := filepath.Join(sysfs, cpuDirectory, "cpu"+strconv.Itoa(number), "topology")
	cpu := CPU{Number: number, Package: -1}
	if pkg, err := readTopologyID(filepath.Join(dir, "physical_package_id")); err == nil {
		cpu.Package = pkg
		cpu.Die, _ = readTopologyID(filepath.Join(dir, "die_id")) // before Linux 5.2 there is none
	}
	return cpu
}

func readTopologyID(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return max(id, 0), err
}
