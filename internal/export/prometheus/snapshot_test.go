package prometheus

import (
	"fmt"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
)

// fixed is a Source that always has the same Snapshot.
type fixed struct{ *snapshot.Snapshot }

func (f fixed) Latest() *snapshot.Snapshot { return f.Snapshot }

// counters are TreeCounters that never move.
type counters struct{}

func (counters) Reads() uint64   { return 42 }
func (counters) Resumes() uint64 { return 3 }
func (counters) Panics() uint64  { return 1 }

// host makes the Snapshot of a two-socket host with n virtual machines and twice as many processes. Its
// identity holds: the zones have what the consumers have. Figures are large and uneven, so that a
// rounding anywhere shows.
func host(n int) *snapshot.Snapshot {
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
	s.Host = snapshot.Host{Energy: sum[energy.Package] + sum[energy.DRAM], Power: 66.6, Source: energy.SourcePowercap}
	s.Host.Sources = []snapshot.HostSource{{Source: energy.SourcePowercap, Energy: s.Host.Energy, Power: s.Host.Power, Live: true}}
	return s
}
