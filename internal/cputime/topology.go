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
	Package int // physical package (socket) id
	Die     int // die id within the package
}

// ReadTopology lists the machine's CPUs in ascending order from
// <sysfs>/devices/system/cpu/cpuN/topology/{physical_package_id,die_id}
// (Documentation/admin-guide/cputopology.rst). A file that is missing or says -1 means package 0
// or die 0: such machines have one package as far as anybody can tell. Where sysfs lists no CPUs,
// the lines of <procfs>/stat do. CPUs that are offline may have no topology; see Domains.
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
	return CPU{
		Number:  number,
		Package: readTopologyID(filepath.Join(dir, "physical_package_id")),
		Die:     readTopologyID(filepath.Join(dir, "die_id")),
	}
}

func readTopologyID(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || id < 0 {
		return 0
	}
	return id
}
