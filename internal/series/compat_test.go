package series_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
	. "github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/snapshot/snapshottest"
)

// What scaphandre 1.0 serves: names without scaph_, types, labels. Its gauges of a process's totals are counters here.
const scaphandre = `
self_version gauge
self_cpu_usage_percent gauge
self_memory_bytes gauge
self_memory_virtual_bytes gauge
self_topo_stats_nb gauge
self_topo_records_nb gauge
self_topo_procs_nb gauge
self_socket_stats_nb gauge socket_id
self_socket_records_nb gauge socket_id
self_domain_records_nb gauge socket_id rapl_domain_name
host_energy_microjoules counter value_source
host_power_microwatts gauge value_source
host_load_avg_one gauge
host_load_avg_five gauge
host_load_avg_fifteen gauge
host_cpu_frequency gauge
host_memory_total_bytes gauge
host_memory_available_bytes gauge
host_memory_free_bytes gauge
host_swap_total_bytes gauge
host_swap_free_bytes gauge
host_disk_total_bytes gauge disk_file_system disk_mount_point disk_type disk_is_removable disk_name
host_disk_available_bytes gauge disk_file_system disk_mount_point disk_type disk_is_removable disk_name
socket_energy_microjoules counter socket_id
socket_power_microwatts gauge socket_id
domain_energy_microjoules counter socket_id domain_id domain_name
domain_power_microwatts gauge socket_id domain_id domain_name
socket_rapl_mmio_energy_microjoules counter socket_id
domain_rapl_mmio_energy_microjoules counter socket_id domain_id domain_name value_source
forks_since_boot_total counter
context_switches_total counter
processes_running_current gauge
processes_blocked_current gauge
process_power_consumption_microwatts gauge pid exe cmdline vmname
process_cpu_usage_percentage gauge pid exe cmdline vmname
process_memory_bytes gauge pid exe cmdline vmname
process_memory_virtual_bytes gauge pid exe cmdline vmname
process_disk_read_bytes gauge pid exe cmdline vmname
process_disk_write_bytes gauge pid exe cmdline vmname
process_disk_total_read_bytes counter pid exe cmdline vmname
process_disk_total_write_bytes counter pid exe cmdline vmname
`

func compatInput() Input {
	s := snapshottest.Host(2)
	for i := range s.Processes {
		s.Processes[i].Power = 2
	}
	s.RestPower = 5
	zone := func(path string, kind energy.Kind, total energy.Microjoules) {
		s.Zones = append(s.Zones, snapshot.Zone{Zone: energy.Zone{Path: path, Kind: kind, Package: 0, Die: -1}, Total: total, Created: s.Created})
	}
	zone("intel-rapl-mmio:0", energy.Package, 71)
	zone("intel-rapl-mmio:0:0", energy.DRAM, 72)
	system := &System{
		Version: 1.2, Self: &ProcessUse{CPUPercent: 0.5, Resident: 11, Virtual: 12},
		Load: &[3]float64{0.1, 0.2, 0.3}, MHz: 3600,
		Memory: &Memory{Total: 21, Available: 22, Free: 23, SwapTotal: 24, SwapFree: 25},
		Kernel: &KernelCounters{Boot: time.Unix(1_500_000_000, 0), Forks: 31, ContextSwitches: 32, Running: 33, Blocked: 34},
		Disks: []Disk{
			{FileSystem: "ext4", MountPoint: "/", Device: "/dev/sda1", Type: "HDD", Total: 41, Available: 42},
			{FileSystem: "vfat", MountPoint: "/a b", Device: "/dev/sdb1", Type: "SSD", Removable: true, Total: 43, Available: 44},
		},
		Processes: map[int32]*ProcessUse{},
	}
	use := func(pid int32, start uint64, exe, cmdline string) {
		system.Processes[pid] = &ProcessUse{
			Start: start, Exe: exe, Cmdline: cmdline, CPUPercent: 1.5, Resident: 51, Virtual: 52,
			IO: &ProcessIO{Read: 61, Written: 62, TotalRead: 63, TotalWritten: 64},
		}
	}
	use(s.VMs[0].PID, 0, "/usr/bin/qemu-system-x86_64", "qemu -name x")
	use(s.Processes[0].PID, s.Processes[0].Start, "/usr/bin/worker", "worker --fast "+strings.Repeat("x", 1000))
	use(s.Processes[1].PID, s.Processes[1].Start+1, "/bin/other", "the one that had the number before")
	return Input{Snapshot: s, Program: status(), System: system}
}

// Everything that scaphandre serves is there, with its name, its type and its labels.
func TestCompatIsComplete(t *testing.T) {
	in := compatInput()
	got := &list{t: t, done: map[string]bool{}}
	new(Walker).Walk(Compat(), in, got)
	table := map[string]Metric{}
	for _, m := range Compat() {
		table[m.Name] = m
	}
	lines := strings.Split(strings.TrimSpace(scaphandre), "\n")
	for _, line := range lines {
		fields := strings.Fields(line)
		m, ok := table["scaph_"+fields[0]]
		if !ok || m.Kind.String() != fields[1] || !slices.Equal(m.Labels, fields[2:]) || m.Help == "" {
			t.Errorf("%s: %+v", line, m)
		}
		if !got.done["scaph_"+fields[0]] {
			t.Errorf("no series of %s", fields[0])
		}
	}
	if len(table) != len(lines) {
		t.Errorf("%d metrics, scaphandre has %d", len(table), len(lines))
	}
	has(t, got,
		"scaph_self_version 1.2 ", "scaph_self_cpu_usage_percent 0.5 ", "scaph_self_memory_bytes 11 ", "scaph_self_memory_virtual_bytes 12 ",
		"scaph_self_topo_procs_nb 4 ", "scaph_self_socket_records_nb socket_id=1 1 ", "scaph_self_domain_records_nb socket_id=1 rapl_domain_name=dram 1 ",
		"scaph_host_load_avg_one 0.1 ", "scaph_host_load_avg_five 0.2 ", "scaph_host_load_avg_fifteen 0.3 ", "scaph_host_cpu_frequency 3600 ",
		"scaph_host_memory_total_bytes 21 ", "scaph_host_memory_available_bytes 22 ", "scaph_host_memory_free_bytes 23 ",
		"scaph_host_swap_total_bytes 24 ", "scaph_host_swap_free_bytes 25 ",
		"scaph_host_disk_total_bytes disk_file_system=ext4 disk_mount_point=/ disk_type=HDD disk_is_removable=false disk_name=/dev/sda1 41 ",
		"scaph_host_disk_available_bytes disk_file_system=vfat disk_mount_point=/a b disk_type=SSD disk_is_removable=true disk_name=/dev/sdb1 44 ",
		"scaph_forks_since_boot_total 31 1500000000", "scaph_context_switches_total 32 1500000000",
		"scaph_processes_running_current 33 ", "scaph_processes_blocked_current 34 ",
		"scaph_socket_power_microwatts socket_id=0 3.3299999999999996e+07 ", "scaph_domain_power_microwatts socket_id=1 domain_id=1 domain_name=dram 3.3299999999999996e+07 ",
		"scaph_socket_rapl_mmio_energy_microjoules socket_id=0 71 1600000000",
		"scaph_domain_rapl_mmio_energy_microjoules socket_id=0 domain_id=0 domain_name=dram value_source=powercap_rapl_mmio 72 1600000000",
		"scaph_process_cpu_usage_percentage pid=1000 exe=/usr/bin/qemu-system-x86_64 cmdline=qemu -name x vmname=web-000 1.5 ",
		"scaph_process_power_consumption_microwatts pid=5000 exe=/usr/bin/worker cmdline=worker --fast xxx", "scaph_process_memory_bytes pid=1000 ",
	)
	for line, n := range map[string]int{"scaph_process_memory_bytes ": 2, "scaph_process_disk_total_write_bytes ": 2, "scaph_process_power_consumption_microwatts ": 3} {
		if got := len(slices.DeleteFunc(slices.Clone(got.lines), func(l string) bool { return !strings.HasPrefix(l, line) })); got != n {
			t.Errorf("%d of %s, want %d", got, line, n)
		}
	}
}

func has(t *testing.T, l *list, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !slices.ContainsFunc(l.lines, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("no %s in\n%s", want, strings.Join(l.lines, "\n"))
		}
	}
}

// A sum is a Sink that adds values up by metric.
type sum map[string]float64

func (s sum) Add(x *Series) { s[x.Name] += x.Value }

// The process series together have the power of all VMs and processes, whichever of them are known: those that are not are
// in the rest, and those that do not count yet are in the Snapshot's rest and in no series twice.
func TestCompatPowersAddUp(t *testing.T) {
	in := compatInput()
	s := in.Snapshot
	s.VMs[1].Power = 7
	s.Processes[0].Energy = 0 // listed, and counts in the rest still
	s.RestPower = 5 + s.Processes[0].Power
	want := float64(5 + s.Processes[0].Power + s.Processes[1].Power + s.Processes[2].Power + s.Processes[3].Power + s.VMs[0].Power + s.VMs[1].Power)
	for name, system := range map[string]*System{"nothing known": nil, "some known": in.System} {
		in.System = system
		got := sum{}
		new(Walker).Walk(Compat(), in, got)
		if watts := got["scaph_process_power_consumption_microwatts"] / 1e6; math.Abs(watts-want) > 1e-9 {
			t.Errorf("%s: %v W, want %v", name, watts, want)
		}
	}
}

// Zones that scaphandre's labels do not tell apart are one series: dies of a package, zones of an earlier run.
func TestCompatZones(t *testing.T) {
	zone := func(path string, kind energy.Kind, die int, total energy.Microjoules) snapshot.Zone {
		return snapshot.Zone{Zone: energy.Zone{Path: path, Kind: kind, Die: die}, Total: total, Power: 1, Created: time.Unix(int64(total), 0)}
	}
	s := &snapshot.Snapshot{
		Created: time.Unix(5, 0), Host: snapshot.Host{Energy: 1 << 60, Power: 9},
		Zones: []snapshot.Zone{
			zone("intel-rapl:0", energy.Package, 0, 10), zone("intel-rapl:0:0", energy.DRAM, 0, 20),
			zone("intel-rapl:1", energy.Package, 1, 30), zone("intel-rapl:1:0", energy.DRAM, 1, 40),
		},
	}
	got := &list{t: t, done: map[string]bool{}}
	new(Walker).Walk(Compat(), Input{Snapshot: s}, got)
	has(t, got, "scaph_socket_energy_microjoules socket_id=0 40 10", "scaph_domain_energy_microjoules socket_id=0 domain_id=0 domain_name=dram 60 20",
		"scaph_socket_power_microwatts socket_id=0 2e+06 ", "scaph_host_energy_microjoules value_source= 1.152921504606847e+18 5")
	psys := zone("intel-rapl:2", energy.Psys, -1, 50)
	s.Basis = energy.PsysBasis
	s.Zones = append(s.Zones, psys)
	got = &list{t: t, done: map[string]bool{}}
	new(Walker).Walk(Compat(), Input{Snapshot: s}, got)
	has(t, got, "scaph_host_power_microwatts value_source=powercap_rapl_psys 9e+06 ")
	for name := range got.done {
		if strings.Contains(name, "memory") || strings.Contains(name, "disk") || strings.Contains(name, "mmio") {
			t.Errorf("%s, of which nothing is known", name)
		}
	}
}

func TestCompatAllocatesNothing(t *testing.T) {
	var w Walker
	var sink nowhere
	in, table := compatInput(), Compat()
	w.Walk(table, in, &sink)
	if n := testing.AllocsPerRun(20, func() { w.Walk(table, in, &sink) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
