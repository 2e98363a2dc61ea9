// Package prometheus serves the last Snapshot to Prometheus, in its text format, in OpenMetrics and in protobuf.
//
// A scrape never measures. It writes one Snapshot down, so that the identity of a Snapshot holds in every scrape, to the
// microjoule. It is written without client_golang's registry, whose checks of every single series would cost more than all
// the rest on a host with hundreds of virtual machines, and with the labels of the scrape before; see encoder.
package prometheus

import (
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/web"
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

// metrics is the handler of scrapes.
type metrics struct {
	source Source
	tree   TreeCounters // nil where no tree is served
	system func() *series.System
	build  Build
	log    *slog.Logger
	start  time.Time      // of the program: when its counters that are not kept were 0
	self   *prom.Registry // process_*: what metering costs
	table  []series.Metric
	spare  [len(offers)]atomic.Pointer[encoder]
}

// newMetrics returns the handler of scrapes. Tree is nil where no tree is served, system where the compatibility table is not
// wanted.
func newMetrics(source Source, tree TreeCounters, system func() *series.System, build Build, log *slog.Logger) *metrics {
	self := prom.NewRegistry()
	self.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m := &metrics{
		source: source, tree: tree, system: system, build: build, log: log, start: time.Now(),
		self: self, table: series.Native(),
	}
	if m.system == nil {
		m.system = func() *series.System { return nil }
	} else {
		m.table = series.WithCompat(m.table)
	}
	return m
}

// ServeHTTP answers a scrape.
func (m *metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := m.source.Latest()
	if s == nil {
		// An empty page would look as if every series had ended.
		web.Answer(w, http.StatusServiceUnavailable, "no measurement yet")
		return
	}
	offer, contentType := negotiate(r.Header.Values("Accept"))
	w.Header().Set("Content-Type", contentType)
	w.Header().Add("Vary", "Accept")
	if err := m.write(w, s, offer, expfmt.Format(contentType)); err != nil {
		m.log.Debug("scrape not answered in full", "error", err) // the client has gone
	}
}

// write writes everything in a format: process_*, then what is ours.
func (m *metrics) write(w io.Writer, s *snapshot.Snapshot, offer int, format expfmt.Format) error {
	families, err := m.self.Gather()
	if err != nil {
		m.log.Warn("metrics of this process not read in full", "error", err)
	}
	library := expfmt.NewEncoder(w, format, expfmt.WithCreatedLines())
	for _, family := range families {
		if err := library.Encode(family); err != nil {
			return err
		}
	}
	e := m.spare[offer].Swap(nil)
	if e == nil {
		e = newEncoder(offers[offer].format())
	}
	defer m.spare[offer].Store(e)
	if err := e.encode(w, m.table, series.Input{Snapshot: s, Program: m.program(), System: m.system()}); err != nil {
		return err
	}
	_, err = io.WriteString(w, offers[offer].end)
	return err
}

// program says what the program knows of itself.
func (m *metrics) program() *series.Status {
	status := &series.Status{
		Start: m.start, Version: m.build.Version, Revision: m.build.Revision, GoVersion: runtime.Version(),
	}
	if m.tree != nil {
		status.Tree = &series.TreeStatus{Reads: m.tree.Reads(), Resumes: m.tree.Resumes()}
		if n := m.tree.Panics(); n > 0 {
			status.Errors = append(status.Errors, snapshot.ErrorCount{Component: "tree", Count: n})
		}
	}
	return status
}

// WriteText writes a Snapshot in the text format of Prometheus.
func WriteText(w io.Writer, s *snapshot.Snapshot) error {
	return newEncoder(text{}).encode(w, series.Native(), series.Input{Snapshot: s})
}
