package series

import "slices"

// Native returns the table of native metrics, in the order of their names.
func Native() []Metric { return slices.Clone(native[:]) }

const untilGone = "each virtual machine, until 15 minutes after it is gone"

// native never changes. It is the only place that names native metrics: exporters and the reference in docs/metrics.md are
// made from it.
var native = [...]Metric{
	{
		"scaph_build_info", Gauge, "", Program, []string{"version", "revision", "goversion"},
		"Always 1; the labels say which build this is.", "", buildInfo,
	}, {
		"scaph_errors_total", Counter, "", Program, []string{"component"},
		"Things that could not be read or done, each skipped, by component.", "", errorsTotal,
	}, {
		"scaph_host_energy_joules_total", Counter, "J", Host, []string{"source"},
		"Energy of the machine, by what counted it: packages and dram, or psys where that is the basis. The source estimate is no hardware counter.",
		"each source that the state knows", hostEnergy,
	}, {
		"scaph_host_power_watts", Gauge, "W", Host, []string{"source"},
		"Power of the machine at the last tick.", "the source that the sensor is", hostPower,
	}, {
		"scaph_ledger_error_joules", Gauge, "J", Host, nil,
		"Energy that was charged less energy that was counted. Anything but 0 is a bug.", "", ledgerError,
	}, {
		"scaph_process_energy_joules_total", Counter, "J", Process, []string{"pid", "comm", "exe"},
		"Energy charged to a process outside VMs since its series counts; an empty pid sums what processes use while they have none.",
		"the processes with the most energy (`processes.top`), for two `prometheus.scrape_interval` after they ended too; and the sum of all others",
		processEnergy,
	}, {
		"scaph_retired_energy_joules", Gauge, "J", Host, []string{"of", "zone"},
		"Totals of series that are not exposed any more. It closes the sum of totals. Never use rate() or increase() on it.",
		"each kind of series that ends (vm, process)", retiredEnergy,
	}, {
		"scaph_sample_duration_seconds", Histogram, "s", Program, nil,
		"Time that a tick took.", "", func(w *Walker) { w.histogram(&w.Snapshot.Duration) },
	}, {
		"scaph_sample_lateness_seconds", Histogram, "s", Program, nil,
		"Time by which a tick came later than planned.", "", func(w *Walker) { w.histogram(&w.Snapshot.Lateness) },
	}, {
		"scaph_tree_reads_total", Counter, "", Program, nil,
		"Reads of files in the tree of meters.", "where the tree is served", treeReads,
	}, {
		"scaph_tree_resumes_total", Counter, "", Program, nil,
		"Times that the mounted tree was taken over from an earlier process.", "where the tree is served", treeResumes,
	}, {
		"scaph_unattributed_energy_joules_total", Counter, "J", Host, []string{"zone", "reason"},
		"Energy charged to nobody: idle (the machine idled), unreserved (idle part of no virtual machine), unseen (busy, with no process to explain it).",
		"", unattributedEnergy,
	}, {
		"scaph_vm_conflicts_total", Counter, "", Program, nil,
		"Claims of processes to the UUID or the name of another VM, and VMs beyond the bounds, that were refused.",
		"where virtual machines are looked for", vmConflicts,
	}, {
		"scaph_vm_cpu_seconds_total", Counter, "s", VM, []string{"uuid", "vm"},
		"CPU time of a virtual machine, its helper processes included.", untilGone, vmCPU,
	}, {
		"scaph_vm_energy_joules_total", Counter, "J", VM, []string{"uuid", "vm", "zone", "part"},
		"Energy charged to a virtual machine for its own activity (active) and of the idle floor (idle).", untilGone, vmEnergy,
	}, {
		"scaph_vm_info", Gauge, "", VM, []string{"uuid", "vm", "title", "vcpus", "source", "project", "user", "flavor"},
		"Always 1; the labels describe a virtual machine. The source says how it was found.", "each virtual machine", vmInfo,
	}, {
		"scaph_vm_power_watts", Gauge, "W", VM, []string{"uuid", "vm"},
		"Power of a virtual machine at the last tick, active and idle part.", "each virtual machine", vmPower,
	}, {
		"scaph_zone_energy_bound_joules_total", Counter, "J", Host, []string{"zone", "package", "path", "source"},
		"Energy by which the zone's may be off at most, because it is integrated from readings of power. How well the device measures is not part of it.",
		"each zone whose sensor shows power only", zoneBound,
	}, {
		"scaph_zone_energy_joules_total", Counter, "J", Host, []string{"zone", "package", "path", "source"},
		"Energy counted by a zone since the state's first tick; never wraps. Core and uncore are parts of package, psys contains all; platform and device overlap with the others and are charged to nobody.",
		"each zone of the sensors", zoneEnergy,
	}, {
		"scaph_zone_info", Gauge, "", Host, []string{"zone", "package", "path", "source", "name", "split"},
		"Always 1; the labels say what a zone is called, and what divides its energy among consumers (cpu time, or nothing).",
		"each zone that the sensors have", zoneInfo,
	}, {
		"scaph_zone_mirrors", Gauge, "", Host, nil,
		"Zones of dies that show the counter of another die of their package again. They are counted once, in that die's zone.",
		"", zoneMirrors,
	}, {
		"scaph_zone_power_watts", Gauge, "W", Host, []string{"zone", "package", "path", "source"},
		"Power of a zone between its last two values; 0 where it cannot be read or does not move.",
		"each zone that the sensors have", zonePower,
	}, {
		"scaph_zone_resets_total", Counter, "", Host, []string{"zone", "package", "path"},
		"Times that a zone's counter jumped other than by wrapping around.", "each zone of the sensor", zoneResets,
	}, {
		"scaph_zone_uncertain_total", Counter, "", Host, []string{"zone", "package", "path"},
		"Gaps between two readings of a counter that may hide a wrap or a jump of it.", "each zone of the sensor", zoneUncertain,
	}, {
		"scaph_zone_wrap_seconds", Gauge, "s", Host, []string{"zone", "package", "path"},
		"Time that the counter takes to wrap around at the present power.",
		"each zone of the sensor whose range and power are known", zoneWrap,
	},
}
