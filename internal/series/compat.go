package series

import (
	"cmp"
	"slices"
)

// WithCompat returns some metrics and those of the compatibility table, in the order of their names.
func WithCompat(metrics []Metric) []Metric {
	all := slices.Concat(metrics, compat[:])
	slices.SortFunc(all, func(a, b Metric) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Compat returns the table of the series that scaphandre 1.0 has, in the order of their names.
func Compat() []Metric { return WithCompat(nil) }

const (
	psysOnly   = "a `value_source` where psys is the basis"
	whereMMIO  = "each zone of intel-rapl-mmio that the sensor has"
	eachListed = "the processes with the most energy (`processes.top`) and each VM's, once they have been looked at"
)

var (
	ofHost    = []string{"value_source"}
	ofSocket  = []string{"socket_id"}
	ofDomain  = []string{"socket_id", "domain_id", "domain_name"}
	ofMMIO    = []string{"socket_id", "domain_id", "domain_name", "value_source"}
	ofProcess = []string{"pid", "exe", "cmdline", "vmname"}
	ofDisk    = []string{"disk_file_system", "disk_mount_point", "disk_type", "disk_is_removable", "disk_name"}
)

// compat never changes. Names and labels are scaphandre's, letter for letter, with its units.
var compat = [...]Metric{
	{"scaph_self_version", Gauge, "", Program, nil, "Version of this program, major.minor.", "", selfVersion},
	{"scaph_self_cpu_usage_percent", Gauge, "%", Program, nil, "CPU time that this program uses, of all CPUs.", "", selfCPU},
	{"scaph_self_memory_bytes", Gauge, "B", Program, nil, "Resident memory of this program.", "", selfMemory},
	{"scaph_self_memory_virtual_bytes", Gauge, "B", Program, nil, "Virtual memory of this program.", "", selfVirtual},
	{"scaph_self_topo_stats_nb", Gauge, "", Program, nil, "Readings of CPU time kept for the host: the last.", "", one},
	{"scaph_self_topo_records_nb", Gauge, "", Program, nil, "Readings of energy kept for the host: the last.", "", one},
	{"scaph_self_topo_procs_nb", Gauge, "", Program, nil, "Processes that the last tick knew the power of.", "", topoProcesses},
	{"scaph_self_socket_stats_nb", Gauge, "", Program, ofSocket, "Readings of CPU time kept for a socket: the last.", "each socket", eachSocket(func(zoneSum) float64 { return 1 })},
	{"scaph_self_socket_records_nb", Gauge, "", Program, ofSocket, "Readings of energy kept for a socket: the last.", "each socket", eachSocket(func(zoneSum) float64 { return 1 })},
	{
		"scaph_self_domain_records_nb", Gauge, "", Program, []string{"socket_id", "rapl_domain_name"},
		"Readings of energy kept for a domain: the last.", "each zone below a package", domainRecords,
	},

	{"scaph_host_energy_microjoules", Counter, "µJ", Host, ofHost, "Energy of the host since the state's first tick; never wraps.", psysOnly, hostMicrojoules},
	{"scaph_host_power_microwatts", Gauge, "µW", Host, ofHost, "Power of the host at the last tick.", psysOnly, hostMicrowatts},
	{"scaph_host_load_avg_one", Gauge, "", Host, nil, "Load average of the last minute.", "", load(0)},
	{"scaph_host_load_avg_five", Gauge, "", Host, nil, "Load average of the last 5 minutes.", "", load(1)},
	{"scaph_host_load_avg_fifteen", Gauge, "", Host, nil, "Load average of the last 15 minutes.", "", load(2)},
	{"scaph_host_cpu_frequency", Gauge, "MHz", Host, nil, "Frequency of the first CPU.", "where the kernel says", cpuFrequency},
	{"scaph_host_memory_total_bytes", Gauge, "B", Host, nil, "Memory of the host.", "", memory(func(m *Memory) uint64 { return m.Total })},
	{"scaph_host_memory_available_bytes", Gauge, "B", Host, nil, "Memory that programs could have.", "", memory(func(m *Memory) uint64 { return m.Available })},
	{"scaph_host_memory_free_bytes", Gauge, "B", Host, nil, "Memory that nothing uses, caches included.", "", memory(func(m *Memory) uint64 { return m.Free })},
	{"scaph_host_swap_total_bytes", Gauge, "B", Host, nil, "Swap space of the host.", "", memory(func(m *Memory) uint64 { return m.SwapTotal })},
	{"scaph_host_swap_free_bytes", Gauge, "B", Host, nil, "Swap space that nothing uses.", "", memory(func(m *Memory) uint64 { return m.SwapFree })},
	{"scaph_host_disk_total_bytes", Gauge, "B", Host, ofDisk, "Size of a mounted file system.", "each file system on a disk or on the network", disk(func(d *Disk) uint64 { return d.Total })},
	{"scaph_host_disk_available_bytes", Gauge, "B", Host, ofDisk, "Space of a mounted file system that ordinary users may have.", "each file system on a disk or on the network", disk(func(d *Disk) uint64 { return d.Available })},
	{"scaph_forks_since_boot_total", Counter, "", Host, nil, "Processes and threads that were started since the boot.", "", forks},
	{"scaph_context_switches_total", Counter, "", Host, nil, "Context switches since the boot.", "", contextSwitches},
	{"scaph_processes_running_current", Gauge, "", Host, nil, "Threads that run or are ready to.", "", running},
	{"scaph_processes_blocked_current", Gauge, "", Host, nil, "Threads that wait for a disk.", "", blocked},

	{"scaph_socket_energy_microjoules", Counter, "µJ", Host, ofSocket, "Energy of a socket since the state's first tick; never wraps.", "each socket", eachSocket(func(s zoneSum) float64 { return float64(s.energy) })},
	{"scaph_socket_power_microwatts", Gauge, "µW", Host, ofSocket, "Power of a socket at the last tick.", "each socket", eachSocket(func(s zoneSum) float64 { return float64(s.power) * 1e6 })},
	{"scaph_domain_energy_microjoules", Counter, "µJ", Host, ofDomain, "Energy of a domain of a socket since the state's first tick; never wraps.", "each zone below a package", eachDomain(false, func(s zoneSum) float64 { return float64(s.energy) })},
	{"scaph_domain_power_microwatts", Gauge, "µW", Host, ofDomain, "Power of a domain of a socket at the last tick.", "each zone below a package", eachDomain(false, func(s zoneSum) float64 { return float64(s.power) * 1e6 })},
	{"scaph_socket_rapl_mmio_energy_microjoules", Counter, "µJ", Host, ofSocket, "Energy of a socket as its memory-mapped counter has it.", whereMMIO, socketMMIO},
	{"scaph_domain_rapl_mmio_energy_microjoules", Counter, "µJ", Host, ofMMIO, "Energy of a domain as its memory-mapped counter has it.", whereMMIO, eachDomain(true, func(s zoneSum) float64 { return float64(s.energy) })},

	{
		"scaph_process_power_consumption_microwatts", Gauge, "µW", Process, ofProcess,
		"Power of a process at the last tick; the exe (rest) is all processes that have no series. A VM has its vmname.", eachListed + "; and the rest", processMicrowatts,
	},
	{"scaph_process_cpu_usage_percentage", Gauge, "%", Process, ofProcess, "CPU time that a process uses, of all CPUs.", eachListed, use(func(u *ProcessUse) float64 { return u.CPUPercent })},
	{"scaph_process_memory_bytes", Gauge, "B", Process, ofProcess, "Resident memory of a process.", eachListed, use(func(u *ProcessUse) float64 { return float64(u.Resident) })},
	{"scaph_process_memory_virtual_bytes", Gauge, "B", Process, ofProcess, "Virtual memory of a process.", eachListed, use(func(u *ProcessUse) float64 { return float64(u.Virtual) })},
	{"scaph_process_disk_read_bytes", Gauge, "B", Process, ofProcess, "What a process read from disks in the last seconds.", eachListed + ", where we may know", useIO(func(i *ProcessIO) uint64 { return i.Read })},
	{"scaph_process_disk_write_bytes", Gauge, "B", Process, ofProcess, "What a process wrote to disks in the last seconds.", eachListed + ", where we may know", useIO(func(i *ProcessIO) uint64 { return i.Written })},
	{"scaph_process_disk_total_read_bytes", Counter, "B", Process, ofProcess, "What a process read from disks since it started.", eachListed + ", where we may know", useIO(func(i *ProcessIO) uint64 { return i.TotalRead })},
	{"scaph_process_disk_total_write_bytes", Counter, "B", Process, ofProcess, "What a process wrote to disks since it started.", eachListed + ", where we may know", useIO(func(i *ProcessIO) uint64 { return i.TotalWritten })},
}
