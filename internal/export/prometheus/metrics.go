package prometheus

import (
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// A metric describes one metric family. The table below is the only place that names metrics: the
// exposition and the reference in docs/metrics.md are made from it.
type metric struct {
	name   string
	kind   dto.MetricType
	labels []string
	help   string // in the exposition; one line
	when   string // in the reference: when there is a series; "" for always
}

// The index of each metric in the table, in the order of their names, as the exposition has them.
const (
	buildInfo = iota
	errorsTotal
	hostEnergy
	hostPower
	ledgerError
	processEnergy
	retiredEnergy
	sampleDuration
	sampleLateness
	treeReads
	treeResumes
	unattributedEnergy
	vmConflicts
	vmCPU
	vmEnergy
	vmInfo
	vmPower
	zoneEnergy
	zoneMirrors
	zoneResets
	zoneUncertain
	zoneWrap
	metricCount
)

// maxLabels is how many labels a metric may have.
const maxLabels = 8

// table never changes.
var table = [metricCount]metric{
	buildInfo: {
		"scaph_build_info", dto.MetricType_GAUGE, []string{"version", "revision", "goversion"},
		"Always 1; the labels say which build this is.", "",
	},
	errorsTotal: {
		"scaph_errors_total", dto.MetricType_COUNTER, []string{"component"},
		"Things that could not be read or done, each skipped, by component.", "",
	},
	hostEnergy: {
		"scaph_host_energy_joules_total", dto.MetricType_COUNTER, []string{"source"},
		"Energy of the machine, by what counted it: packages and dram, or psys where that is the basis. The source estimate is no hardware counter.",
		"each source that the state knows",
	},
	hostPower: {
		"scaph_host_power_watts", dto.MetricType_GAUGE, []string{"source"},
		"Power of the machine at the last tick.", "the source that the sensor is",
	},
	ledgerError: {
		"scaph_ledger_error_joules", dto.MetricType_GAUGE, nil,
		"Energy that was charged less energy that was counted. Anything but 0 is a bug.", "",
	},
	processEnergy: {
		"scaph_process_energy_joules_total", dto.MetricType_COUNTER, []string{"pid", "comm", "exe"},
		"Energy charged to a process outside VMs since its series counts; an empty pid sums what processes use while they have none.",
		"the processes with the most energy (`prometheus.processes.top`), for two `prometheus.scrape_interval` after they ended too; and the sum of all others",
	},
	retiredEnergy: {
		"scaph_retired_energy_joules", dto.MetricType_GAUGE, []string{"of", "zone"},
		"Totals of series that are not exposed any more. It closes the sum of totals. Never use rate() or increase() on it.",
		"each kind of series that ends (vm, process)",
	},
	sampleDuration: {
		"scaph_sample_duration_seconds", dto.MetricType_HISTOGRAM, nil,
		"Time that a tick took.", "",
	},
	sampleLateness: {
		"scaph_sample_lateness_seconds", dto.MetricType_HISTOGRAM, nil,
		"Time by which a tick came later than planned.", "",
	},
	treeReads: {
		"scaph_tree_reads_total", dto.MetricType_COUNTER, nil,
		"Reads of files in the tree of meters.", "where the tree is served",
	},
	treeResumes: {
		"scaph_tree_resumes_total", dto.MetricType_COUNTER, nil,
		"Times that the mounted tree was taken over from an earlier process.", "where the tree is served",
	},
	unattributedEnergy: {
		"scaph_unattributed_energy_joules_total", dto.MetricType_COUNTER, []string{"zone", "reason"},
		"Energy charged to nobody: idle (the machine idled), unreserved (idle part of no virtual machine), unseen (busy, with no process to explain it).", "",
	},
	vmConflicts: {
		"scaph_vm_conflicts_total", dto.MetricType_COUNTER, nil,
		"Claims of processes to the UUID or the name of another VM, and VMs beyond the bounds, that were refused.",
		"where virtual machines are looked for",
	},
	vmCPU: {
		"scaph_vm_cpu_seconds_total", dto.MetricType_COUNTER, []string{"uuid", "vm"},
		"CPU time of a virtual machine, its helper processes included.", "each virtual machine, until 15 minutes after it is gone",
	},
	vmEnergy: {
		"scaph_vm_energy_joules_total", dto.MetricType_COUNTER, []string{"uuid", "vm", "zone", "part"},
		"Energy charged to a virtual machine for its own activity (active) and of the idle floor (idle).",
		"each virtual machine, until 15 minutes after it is gone",
	},
	vmInfo: {
		"scaph_vm_info", dto.MetricType_GAUGE, []string{"uuid", "vm", "title", "vcpus", "source", "project", "user", "flavor"},
		"Always 1; the labels describe a virtual machine. The source says how it was found.", "each virtual machine",
	},
	vmPower: {
		"scaph_vm_power_watts", dto.MetricType_GAUGE, []string{"uuid", "vm"},
		"Power of a virtual machine at the last tick, active and idle part.", "each virtual machine",
	},
	zoneEnergy: {
		"scaph_zone_energy_joules_total", dto.MetricType_COUNTER, []string{"zone", "package", "path", "source"},
		"Energy counted by a zone since the state's first tick; never wraps. Core and uncore are parts of package, psys contains all.", "each zone of the sensor",
	},
	zoneMirrors: {
		"scaph_zone_mirrors", dto.MetricType_GAUGE, nil,
		"Zones of dies that show the counter of another die of their package again. They are counted once, in that die's zone.", "",
	},
	zoneResets: {
		"scaph_zone_resets_total", dto.MetricType_COUNTER, []string{"zone", "package", "path"},
		"Times that a zone's counter jumped other than by wrapping around.", "each zone of the sensor",
	},
	zoneUncertain: {
		"scaph_zone_uncertain_total", dto.MetricType_COUNTER, []string{"zone", "package", "path"},
		"Gaps between two readings of a counter that may hide a wrap or a jump of it.", "each zone of the sensor",
	},
	zoneWrap: {
		"scaph_zone_wrap_seconds", dto.MetricType_GAUGE, []string{"zone", "package", "path"},
		"Time that the counter takes to wrap around at the present power.", "each zone of the sensor whose range and power are known",
	},
}

// Reference writes the table of metrics in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | what | when |\n|---|---|---|---|---|\n")
	for _, m := range table {
		labels := "none"
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		when := m.when
		if when == "" {
			when = "always"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.name, strings.ToLower(m.kind.String()), labels, m.help, when)
	}
	return b.String()
}
