package main

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
)

// A zone of the machine. Its kind is package, core or dram.
type zone struct {
	id, kind string
	pkg      int
	wrap     float64
	counter  *os.File // kept open
	total    float64  // µJ
}

// An account of one kind of zone. The accounts processes and unseen go by these names.
type account struct{ owner, kind string }

const (
	processes = "processes"
	unseen    = "unseen"
	nobody    = "idle"
)

type oracle struct {
	dir   string
	zones []zone
	pkg   map[int]int // of each CPU
	last  *reading
	debt  map[int]float64 // s by package: busy time that was explained before it showed
	uj    map[account]float64
	cpu   map[string]float64 // s by UUID
	ticks int
}

func newOracle(dir string) *oracle {
	return &oracle{dir: dir, pkg: map[int]int{}, debt: map[int]float64{}, uj: map[account]float64{}, cpu: map[string]float64{}}
}

// tick charges what was used since the last one.
func (o *oracle) tick() error {
	if o.zones == nil {
		if err := o.discover(); err != nil {
			return err
		}
	}
	now := &reading{
		zones: map[string]float64{}, threads: map[string]float64{}, cpuOf: map[string]int{},
		owner: map[string]string{}, busy: map[int]float64{},
	}
	for _, step := range []func(*reading) error{o.readZones, o.readThreads, o.readBusy} {
		if err := step(now); err != nil {
			return err
		}
	}
	used := o.used(now)
	for i := range o.zones {
		o.charge(&o.zones[i], now, used)
	}
	o.last = now
	o.ticks++
	return nil
}

// used gives the CPU time since the last tick by package and owner.
func (o *oracle) used(now *reading) map[int]map[string]float64 {
	all := map[int]map[string]float64{}
	for _, pkg := range o.pkg {
		all[pkg] = map[string]float64{}
	}
	for key, owner := range now.owner {
		name := owner
		if owner == "" {
			name = processes
		}
		if o.last == nil {
			o.cpu[owner] += 0 // so that it is listed
			continue
		}
		seconds := now.threads[key] - o.last.threads[key] // a new one's whole time
		pkg := o.pkg[now.cpuOf[key]]
		all[pkg][name] += seconds
		o.cpu[owner] += seconds
		o.debt[pkg] -= seconds
	}
	if o.last == nil {
		return all
	}
	for cpu, busy := range now.busy {
		o.debt[o.pkg[cpu]] += busy - o.last.busy[cpu]
	}
	for pkg := range all {
		if rest := o.debt[pkg]; rest > 0 {
			all[pkg][unseen], o.debt[pkg] = rest, 0
		}
	}
	return all
}

// charge splits a zone's energy by CPU time on its package, in whole µJ; what rounding leaves goes to the processes.
func (o *oracle) charge(z *zone, now *reading, used map[int]map[string]float64) {
	if o.last == nil {
		return
	}
	e := now.zones[z.id] - o.last.zones[z.id]
	if e < 0 {
		e += z.wrap
	}
	z.total += e
	var all float64
	for _, seconds := range used[z.pkg] {
		all += seconds
	}
	if all == 0 {
		o.uj[account{nobody, z.kind}] += e
		return
	}
	left := e
	for owner, seconds := range used[z.pkg] {
		part := math.Floor(e * seconds / all)
		o.uj[account{owner, z.kind}] += part
		left -= part
	}
	o.uj[account{processes, z.kind}] += left
}

// text is the exposition, with the metrics that the judge looks at.
func (o *oracle) text() string {
	var b strings.Builder
	for _, z := range o.zones {
		fmt.Fprintf(&b, "scaph_zone_energy_joules_total{zone=%q,path=%q} %.6f\n", z.kind, z.id, z.total/1e6)
	}
	var rest float64
	for _, kind := range []string{"package", "dram"} {
		for _, owner := range slices.Sorted(maps.Keys(o.cpu)) {
			if owner != "" {
				fmt.Fprintf(&b, "scaph_vm_energy_joules_total{uuid=%q,zone=%q,part=\"active\"} %.6f\n", owner, kind, o.uj[account{owner, kind}]/1e6)
			}
		}
		for _, reason := range []string{nobody, unseen} {
			fmt.Fprintf(&b, "scaph_unattributed_energy_joules_total{zone=%q,reason=%q} %.6f\n", kind, reason, o.uj[account{reason, kind}]/1e6)
		}
		rest += o.uj[account{processes, kind}]
	}
	fmt.Fprintf(&b, "scaph_process_energy_joules_total{pid=\"\"} %.6f\nscaph_ledger_error_joules 0\n", rest/1e6)
	for owner, seconds := range o.cpu {
		if owner != "" {
			fmt.Fprintf(&b, "scaph_vm_cpu_seconds_total{uuid=%q} %v\n", owner, seconds)
		}
	}
	return b.String()
}
