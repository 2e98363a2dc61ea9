package series

import (
	"strings"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
)

// created returns when a series with a value of that kind was 0.
func (w *Walker) created(t time.Time) time.Time {
	if w.series.Kind == Counter {
		return t
	}
	return time.Time{}
}

func one(w *Walker) { w.gauge(1) }

func selfVersion(w *Walker) {
	if w.System != nil {
		w.gauge(w.System.Version)
	}
}

// self hands over what this program uses.
func (w *Walker) self(of func(*ProcessUse) float64) {
	if w.System != nil && w.System.Self != nil {
		w.gauge(of(w.System.Self))
	}
}

func selfCPU(w *Walker)     { w.self(func(u *ProcessUse) float64 { return u.CPUPercent }) }
func selfMemory(w *Walker)  { w.self(func(u *ProcessUse) float64 { return float64(u.Resident) }) }
func selfVirtual(w *Walker) { w.self(func(u *ProcessUse) float64 { return float64(u.Virtual) }) }

func topoProcesses(w *Walker) { w.gauge(float64(len(w.Snapshot.Processes))) }

// valueSource appends what counts the host, where that is psys.
func (w *Walker) valueSource() {
	if w.Snapshot.Basis.Has(energy.Psys) {
		w.word("powercap_rapl_psys")
	} else {
		w.word("")
	}
}

func hostMicrojoules(w *Walker) {
	w.valueSource()
	w.counter(float64(w.Snapshot.Host.Energy), w.Snapshot.Created)
}

func hostMicrowatts(w *Walker) {
	w.valueSource()
	w.gauge(float64(w.Snapshot.Host.Power) * 1e6)
}

func load(i int) func(*Walker) {
	return func(w *Walker) {
		if w.System != nil && w.System.Load != nil {
			w.gauge(w.System.Load[i])
		}
	}
}

func cpuFrequency(w *Walker) {
	if w.System != nil && w.System.MHz > 0 {
		w.gauge(w.System.MHz)
	}
}

func memory(of func(*Memory) uint64) func(*Walker) {
	return func(w *Walker) {
		if w.System != nil && w.System.Memory != nil {
			w.gauge(float64(of(w.System.Memory)))
		}
	}
}

func disk(of func(*Disk) uint64) func(*Walker) {
	return func(w *Walker) {
		if w.System == nil {
			return
		}
		for i := range w.System.Disks {
			d := &w.System.Disks[i]
			w.text(d.FileSystem)
			w.text(d.MountPoint)
			w.text(d.Type)
			if d.Removable {
				w.word("true")
			} else {
				w.word("false")
			}
			w.text(d.Device)
			w.gauge(float64(of(d)))
		}
	}
}

// kernel hands over what /proc/stat says.
func (w *Walker) kernel(of func(*KernelCounters) uint64) {
	if w.System != nil && w.System.Kernel != nil {
		w.add(float64(of(w.System.Kernel)), w.created(w.System.Kernel.Boot), 0)
	}
}

func forks(w *Walker) { w.kernel(func(k *KernelCounters) uint64 { return k.Forks }) }
func contextSwitches(w *Walker) {
	w.kernel(func(k *KernelCounters) uint64 { return k.ContextSwitches })
}
func running(w *Walker) { w.kernel(func(k *KernelCounters) uint64 { return k.Running }) }
func blocked(w *Walker) { w.kernel(func(k *KernelCounters) uint64 { return k.Blocked }) }

func isMMIO(z *snapshot.Zone) bool { return strings.HasPrefix(z.Path, "intel-rapl-mmio:") }

// domainID returns the number of a zone within its package: the last part of its powercap id; "" for a zone at the top.
func domainID(z *snapshot.Zone) string {
	if strings.Count(z.Path, ":") < 2 {
		return ""
	}
	return z.Path[strings.LastIndexByte(z.Path, ':')+1:]
}

// sameSocket and sameDomain join the zones that are one by scaphandre's labels: those of the dies of a package are.
func sameSocket(a, b *snapshot.Zone) bool {
	return a.Kind == b.Kind && a.Package == b.Package && isMMIO(a) == isMMIO(b)
}

func sameDomain(a, b *snapshot.Zone) bool {
	return sameSocket(a, b) && domainID(a) == domainID(b)
}

// sockets hands over the packages, or what mirrors them in memory.
func (w *Walker) sockets(mmio bool, of func(zoneSum) float64) {
	zones := w.Snapshot.Zones
	for i := range zones {
		if z := &zones[i]; z.Kind == energy.Package && isMMIO(z) == mmio {
			if sum, ok := sumOf(zones, i, sameSocket); ok {
				w.number(z.Package)
				w.add(of(sum), w.created(sum.created), 0)
			}
		}
	}
}

func eachSocket(of func(zoneSum) float64) func(*Walker) {
	return func(w *Walker) { w.sockets(false, of) }
}

func socketMMIO(w *Walker) { w.sockets(true, func(s zoneSum) float64 { return float64(s.energy) }) }

// isDomain reports whether a zone is below a package or beside it: what nothing splits is no part of a socket.
func isDomain(z *snapshot.Zone) bool {
	return z.Kind != energy.Package && z.Kind != energy.Psys && z.Split == energy.ByCPU
}

// eachDomain hands over what is below packages or beside them: core, uncore, dram.
func eachDomain(mmio bool, of func(zoneSum) float64) func(*Walker) {
	return func(w *Walker) {
		zones := w.Snapshot.Zones
		for i := range zones {
			z := &zones[i]
			if !isDomain(z) || isMMIO(z) != mmio {
				continue
			}
			if sum, ok := sumOf(zones, i, sameDomain); ok {
				w.number(z.Package)
				w.text(domainID(z))
				w.word(z.Kind.String())
				if mmio {
					w.word("powercap_rapl_mmio")
				}
				w.add(of(sum), w.created(sum.created), 0)
			}
		}
	}
}

func domainRecords(w *Walker) {
	zones := w.Snapshot.Zones
	for i := range zones {
		if z := &zones[i]; isDomain(z) && !isMMIO(z) {
			if _, ok := sumOf(zones, i, sameSocket); ok {
				w.number(z.Package)
				w.word(z.Kind.String())
				w.gauge(1)
			}
		}
	}
}
