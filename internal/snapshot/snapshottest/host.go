// Package snapshottest has Snapshots for tests of what consumes them.
package snapshottest

import (
	"fmt"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
)

// Host makes the Snapshot of a two-socket host with n VMs and twice as many processes. Its
// identity holds: the zones have what the consumers have. Figures are large and uneven, so that a
// rounding anywhere shows.
func Host(n int) *snapshot.Snapshot {
	created := time.Unix(1_600_000_000, 0)
	s := &snapshot.Snapshot{
		Seq: 7, Time: time.Unix(1_700_000_000, 0), Interval: time.Second,
		CPUSource: "procfs", VMSource: "libvirt", Created: created, Basis: energy.PackageBasis,
		Errors: []snapshot.ErrorCount{{Component: "rapl", Count: 2}, {Component: "vmmap", Count: 0}},
	}
	for _, d := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 10 * time.Second} {
		s.Duration.Observe(d)
		s.Lateness.Observe(d / 10)
	}
	var sum [energy.Kinds]energy.Microjoules
	charge := func(e *snapshot.Energies, seed int) {
		for _, k := range []energy.Kind{energy.Package, energy.Core, energy.DRAM} {
			for p := range snapshot.Part(snapshot.Parts) {
				e[k][p] = energy.Microjoules(1_000_000_007*uint64(seed+1) + 7919*uint64(k) + 104729*uint64(p))
				sum[k] += e[k][p]
			}
		}
	}
	for i := range n {
		vm := snapshot.VM{
			UUID: fmt.Sprintf("6b1f3c2e-0000-4000-8000-%012x", i), Name: fmt.Sprintf("web-%03d", i),
			Title: "a machine", State: "running", Source: "libvirt", Project: "p", User: "u", Flavor: "m1.small",
			VCPUs: 4, PID: int32(1000 + i), CPU: time.Duration(i) * time.Second, Power: energy.Watts(i) / 3, Created: created,
		}
		charge(&vm.Energy, i)
		s.VMs = append(s.VMs, vm)
	}
	for i := range 2 * n {
		p := snapshot.Process{PID: int32(5000 + i), Start: uint64(i), Comm: "worker", Exe: "/usr/bin/worker", Power: 1, Listed: i < 50}
		if p.Listed {
			p.Energy = energy.Microjoules(333_333_333 * uint64(i+1))
			sum[energy.Package] += p.Energy
			s.Series = append(s.Series, snapshot.ProcessSeries{PID: p.PID, Comm: p.Comm, Exe: p.Exe, Energy: p.Energy, Created: created})
		}
		s.Processes = append(s.Processes, p)
	}
	charge(&s.Rest, 123_456)
	charge(&s.Retired.VMs, 654_321)
	charge(&s.Retired.Processes, 765_432)
	for i, reason := range []string{"idle", "unreserved", "unseen"} {
		for _, k := range []energy.Kind{energy.Package, energy.DRAM} {
			u := snapshot.Unattributed{Kind: k, Reason: reason, Energy: energy.Microjoules(1_234_567_891 * uint64(i+1))}
			sum[k] += u.Energy
			s.Unattributed = append(s.Unattributed, u)
		}
	}
	zone := func(path, name string, kind energy.Kind, pkg int, total energy.Microjoules) {
		s.Zones = append(s.Zones, snapshot.Zone{
			Zone: energy.Zone{
				Path: path, Name: name, Kind: kind, Package: pkg, Die: -1,
				Range: 262143328850, Source: energy.SourcePowercap,
			},
			Total: total, Power: 33.3, Created: created, Attributed: kind == energy.Package || kind == energy.DRAM, WrapSeconds: 7864,
		})
	}
	for pkg := range 2 {
		part := func(k energy.Kind) energy.Microjoules {
			if pkg == 0 {
				return sum[k] / 3
			}
			return sum[k] - sum[k]/3
		}
		path := fmt.Sprintf("intel-rapl:%d", pkg)
		zone(path, fmt.Sprintf("package-%d", pkg), energy.Package, pkg, part(energy.Package))
		zone(path+":0", "core", energy.Core, pkg, part(energy.Core))
		zone(path+":1", "dram", energy.DRAM, pkg, part(energy.DRAM))
	}
	zone("intel-rapl:2", "psys", energy.Psys, -1, 1)
	s.Zones = append(s.Zones, snapshot.Zone{
		Zone: energy.Zone{
			Path: "hwmon:LNXSYSTM:00/ACPI000D:00/power_meter/power1", Name: "power_meter", Kind: energy.Platform, Package: -1, Die: -1,
			Source: energy.SourceHwmon, Split: energy.ByNothing, Integrated: true,
		},
		Total: 987_654_321, Bound: 1_234_567, Power: 312.5, Created: created,
	})
	s.Host = snapshot.Host{Energy: sum[energy.Package] + sum[energy.DRAM], Power: 66.6, Source: energy.SourcePowercap}
	s.Host.Sources = []snapshot.HostSource{{Source: energy.SourcePowercap, Energy: s.Host.Energy, Power: s.Host.Power, Live: true}}
	return s
}

// Odd makes a Snapshot in which everything that decides the form of a series occurs: names from outside that are no label
// values, VMs under former names, zones of earlier runs with the labels of present ones, counters without creation times.
func Odd() *snapshot.Snapshot {
	s := Host(3)
	s.VMs[1].Name, s.VMs[1].Title = "quote\" back\\slash\nline", "\xff\x00"+strings.Repeat("ü", 300)
	s.VMs[2].Created, s.VMs[2].Source, s.VMs[2].VCPUs = time.Time{}, "argv", 12345
	s.VMs[2].Power = energy.Watts(1e-9)
	s.FormerVMs = []snapshot.FormerVM{
		{UUID: s.VMs[0].UUID, Name: "\xffold", Energy: s.VMs[0].Energy, CPU: 90 * time.Minute, Created: s.Created},
		{UUID: s.VMs[1].UUID, Name: "older"},
	}
	s.Series = append(s.Series,
		snapshot.ProcessSeries{PID: 1, Comm: "\xff\x00\"\n\\", Exe: strings.Repeat("ü", 4096), Energy: 1<<53 + 1, Created: time.Unix(1_650_000_000, 123_456_789)},
		snapshot.ProcessSeries{PID: 2, Comm: "", Exe: ""})
	s.Rebased[energy.Package] = -1 << 60
	s.LedgerError = -3
	earlier := s.Zones[0]
	earlier.Missing, earlier.Source, earlier.Created, earlier.Total = true, energy.SourceEstimate, time.Unix(1_500_000_000, 0), 5
	same := s.Zones[0]
	same.Missing, same.Total, same.Uncertain, same.Resets, same.WrapSeconds = true, 7, 3, 2, 0
	s.Zones[3].Mirrors = s.Zones[0].Path
	s.Zones[4].WrapSeconds, s.Zones[4].Created = 0, time.Time{}
	s.Zones = append(s.Zones, earlier, same)
	s.Host.Sources = append(s.Host.Sources, snapshot.HostSource{Source: energy.SourceEstimate, Energy: 5, Power: 1, Created: earlier.Created})
	s.Errors = append(s.Errors, snapshot.ErrorCount{Component: "libvirt", Count: 1<<53 + 1})
	return s
}
