package prometheus

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/snapshot/snapshottest"
)

// moving is a Source of Snapshots in which every VM has used energy since the last look, so that no number is as before.
type moving struct {
	snapshots [8]*snapshot.Snapshot
	next      int
}

func newMoving(vms int) *moving {
	m := &moving{}
	for i := range m.snapshots {
		s := snapshottest.Host(vms)
		for v := range s.VMs {
			for k := range s.VMs[v].Energy {
				for p := range s.VMs[v].Energy[k] {
					s.VMs[v].Energy[k][p] += s.VMs[v].Energy[k][p] / 1_000_003 * energy.Microjoules(i*v)
				}
			}
			s.VMs[v].Power /= 7
		}
		m.snapshots[i] = s
	}
	return m
}

func (m *moving) Latest() *snapshot.Snapshot {
	m.next++
	return m.snapshots[m.next%len(m.snapshots)]
}

// A reader is a client over no network.
type reader struct {
	header http.Header
	n      int
}

func (r *reader) Header() http.Header { return r.header }
func (r *reader) WriteHeader(int)     {}
func (r *reader) Write(p []byte) (int, error) {
	r.n += len(p)
	return len(p), nil
}

// BenchmarkScrape measures the server time of a scrape, ours beside that of client_golang's registry with the same series.
// The budget is 2 ms for 500 VMs with gzip.
func BenchmarkScrape(b *testing.B) {
	for _, vms := range []int{50, 500} {
		o := options(nil)
		o.Source = newMoving(vms)
		compat := o
		compat.System = systemOf(o.Source.Latest())
		registry := prom.NewRegistry()
		registry.MustRegister(&plainCollector{source: newMoving(vms)}, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		for name, h := range map[string]http.Handler{
			"ours":          handler(o),
			"ours+compat":   handler(compat),
			"client_golang": promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true, EnableOpenMetricsTextCreatedSamples: true}),
		} {
			for format, accept := range map[string]string{"text": "text/plain", "openmetrics": openMetrics, "protobuf": protobufType} {
				for _, encoding := range []string{"identity", "gzip"} {
					b.Run(fmt.Sprintf("vms=%d/%s/%s/%s", vms, format, encoding, name), func(b *testing.B) {
						request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", http.NoBody)
						if err != nil {
							b.Fatal(err)
						}
						request.Header.Set("Accept", accept)
						request.Header.Set("Accept-Encoding", encoding)
						var r reader
						b.ReportAllocs()
						for b.Loop() {
							r = reader{header: http.Header{}}
							h.ServeHTTP(&r, request)
						}
						b.ReportMetric(float64(r.n), "bytes")
					})
				}
			}
		}
	}
}

// systemOf returns what is known of a Snapshot's VMs and listed processes beside energy.
func systemOf(s *snapshot.Snapshot) func() *series.System {
	system := &series.System{Processes: map[int32]*series.ProcessUse{}}
	for i := range s.VMs {
		system.Processes[s.VMs[i].PID] = &series.ProcessUse{
			Exe: "/usr/bin/qemu-system-x86_64", Cmdline: "/usr/bin/qemu-system-x86_64 -name guest=" + s.VMs[i].Name + ",debug-threads=on",
			CPUPercent: float64(i) / 7, Resident: 1 << 30, Virtual: 1 << 32, IO: &series.ProcessIO{TotalRead: 1 << 33},
		}
	}
	for i := range s.Processes {
		p := &s.Processes[i]
		system.Processes[p.PID] = &series.ProcessUse{Start: p.Start, Exe: "/usr/bin/worker", Cmdline: "worker", IO: &series.ProcessIO{}}
	}
	return func() *series.System { return system }
}

// A plainCollector shows a Snapshot by constant metrics.
type plainCollector struct {
	source  Source
	ch      chan<- prom.Metric
	descs   map[*series.Metric]*prom.Desc
	metrics []series.Metric
}

func (c *plainCollector) Describe(ch chan<- *prom.Desc) {
	c.descs = map[*series.Metric]*prom.Desc{}
	c.metrics = series.Native()
	for i := range c.metrics {
		m := &c.metrics[i]
		c.descs[m] = prom.NewDesc(m.Name, m.Help, m.Labels, nil)
		ch <- c.descs[m]
	}
}

func (c *plainCollector) Collect(ch chan<- prom.Metric) {
	c.ch = ch
	new(series.Walker).Walk(c.metrics, series.Input{Snapshot: c.source.Latest()}, c)
}

func (c *plainCollector) Add(s *series.Series) {
	var values []string
	for left := s.Values; len(left) > 0; {
		var value []byte
		value, left = left.Next()
		values = append(values, string(value))
	}
	switch s.Kind {
	case series.Counter:
		c.ch <- prom.MustNewConstMetricWithCreatedTimestamp(c.descs[s.Metric], prom.CounterValue, s.Value, s.Created, values...)
	case series.Gauge:
		c.ch <- prom.MustNewConstMetric(c.descs[s.Metric], prom.GaugeValue, s.Value, values...)
	case series.Histogram:
		c.ch <- prom.MustNewConstHistogram(c.descs[s.Metric], s.Histogram.Count, s.Histogram.Sum, nil)
	}
}

// BenchmarkEncode measures the writing alone.
func BenchmarkEncode(b *testing.B) {
	for name, f := range map[string]format{"text": plain(), "openmetrics": openMetricsFormat(), "protobuf": delimited()} {
		b.Run(name, func(b *testing.B) {
			source, table, e := newMoving(500), series.Native(), newEncoder(f)
			encode := func() {
				if err := e.encode(io.Discard, table, series.Input{Snapshot: source.Latest()}); err != nil {
					b.Fatal(err)
				}
			}
			encode() // what a series never changes is made once
			b.ReportAllocs()
			for b.Loop() {
				encode()
			}
		})
	}
}
