// Package prometheus serves the last Snapshot to Prometheus, in its text format and in OpenMetrics.
//
// A scrape never measures. It formats one Snapshot, so that the identity of a Snapshot holds in every
// scrape, to the microjoule. The families are built without client_golang's registry, whose checks of
// every single series would cost more than all the rest on a host with hundreds of virtual machines, and
// in the memory of the scrape before.
package prometheus

import (
	"cmp"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/scaph/scaph/internal/snapshot"
)

// Source has the last Snapshot; nil before the first tick.
type Source interface {
	Latest() *snapshot.Snapshot
}

// TreeCounters count what happens to the tree of meters.
type TreeCounters interface {
	Reads() uint64   // of files
	Resumes() uint64 // of the mount, from an earlier process
	Panics() uint64  // requests that met a mistake in the program
}

// Build says which build of the program this is.
type Build struct {
	Version, Revision string
}

// A Gatherer makes metric families of a Source's last Snapshot, and of the process itself.
// It is a prometheus.TransactionalGatherer, safe for concurrent use.
type Gatherer struct {
	source Source
	tree   TreeCounters // nil where no tree is served
	build  Build
	self   *prom.Registry // process_*: what metering costs
	spare  atomic.Pointer[builder]
	start  time.Time // of the program: when its counters that are not kept were 0
}

// NewGatherer makes a Gatherer; tree may be nil.
func NewGatherer(source Source, tree TreeCounters, build Build) *Gatherer {
	self := prom.NewRegistry()
	self.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Gatherer{source: source, tree: tree, build: build, self: self, start: time.Now()}
}

// Gather gives all families by name. They must not be changed, and not be used any more once done was called. An error is
// about process_* only.
func (g *Gatherer) Gather() (families []*dto.MetricFamily, done func(), err error) {
	b := g.spare.Swap(nil)
	if b == nil {
		b = &builder{start: g.start}
	}
	if snapshot := g.source.Latest(); snapshot == nil {
		b.reset(0)
	} else {
		b.reset(seriesOf(snapshot))
		b.addSnapshot(snapshot)
	}
	g.addProgram(b)
	families, err = g.self.Gather()
	families = append(families, b.families()...)
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return families, func() { g.spare.Store(b) }, err
}

// addProgram adds the series that are not part of a Snapshot.
func (g *Gatherer) addProgram(b *builder) {
	b.add(buildInfo, 1, g.build.Version, g.build.Revision, runtime.Version())
	if g.tree != nil {
		b.add(treeReads, float64(g.tree.Reads()))
		b.add(treeResumes, float64(g.tree.Resumes()))
		if n := g.tree.Panics(); n > 0 {
			b.add(errorsTotal, float64(n), "tree")
		}
	}
}
