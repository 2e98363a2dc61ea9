package prometheus

import (
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/scaph/scaph/internal/snapshot"
)

// A builder collects series by metric. It takes its memory in slabs, and uses it again and again: a series of its own has
// a dozen little objects, and a host with 500 virtual machines has thousands of series.
type builder struct {
	start   time.Time // of the program; zero where unknown
	metrics [metricCount][]*dto.Metric

	series   []dto.Metric
	counters []dto.Counter
	gauges   []dto.Gauge
	numbers  []float64
	pairs    []dto.LabelPair
	pointers []*dto.LabelPair
	strings  []string
	times    []timestamppb.Timestamp
	last     [maxLabels]*dto.LabelPair // of the series before: most of the next one's are the same
}

// reset makes a builder empty, with room for about n series. What was built before must not be used any more.
func (b *builder) reset(n int) {
	const labels, shared = 4, 2 // of a series, about
	for id := range b.metrics {
		b.metrics[id] = b.metrics[id][:0]
	}
	empty(&b.series, n)
	empty(&b.counters, n)
	empty(&b.gauges, n)
	empty(&b.numbers, n)
	empty(&b.pairs, n*(labels-shared))
	empty(&b.pointers, n*labels)
	empty(&b.strings, n*(labels-shared))
	empty(&b.times, n)
	b.last = [maxLabels]*dto.LabelPair{}
}

// empty clears a slab that has room for n elements, and takes a new one in the place of one that has not.
func empty[T any](slab *[]T, n int) {
	if cap(*slab) < n {
		*slab = make([]T, 0, n)
		return
	}
	clear(*slab)
	*slab = (*slab)[:0]
}

// take gives a zero element of a slab, which is replaced by a new one when it is full: elements never
// move, since others point to them.
func take[T any](slab *[]T) *T {
	if len(*slab) == cap(*slab) {
		*slab = make([]T, 0, max(64, cap(*slab)/4))
	}
	*slab = (*slab)[:len(*slab)+1]
	return &(*slab)[len(*slab)-1]
}

// add adds one series; values are those of the metric's labels, in the table's order. A counter that is given without
// a creation time has the program's own start as one.
func (b *builder) add(id int, value float64, values ...string) {
	b.addSince(id, value, b.start, values...)
}

// addSince adds one series of a counter that was 0 at created, a zero time where that is not known; or of a gauge.
func (b *builder) addSince(id int, value float64, created time.Time, values ...string) {
	m := b.metric(id, values)
	v := take(&b.numbers)
	*v = value
	if table[id].kind == dto.MetricType_GAUGE {
		m.Gauge = take(&b.gauges)
		m.Gauge.Value = v
		return
	}
	m.Counter = take(&b.counters)
	m.Counter.Value = v
	if !created.IsZero() {
		m.Counter.CreatedTimestamp = take(&b.times)
		m.Counter.CreatedTimestamp.Seconds, m.Counter.CreatedTimestamp.Nanos = created.Unix(), int32(created.Nanosecond())
	}
}

// addHistogram adds a histogram without labels.
func (b *builder) addHistogram(id int, h *snapshot.Histogram) {
	out := &dto.Histogram{SampleCount: &h.Count, SampleSum: &h.Sum}
	if !b.start.IsZero() {
		out.CreatedTimestamp = timestamppb.New(b.start)
	}
	var cumulative uint64
	for i := range snapshot.DurationBounds {
		cumulative += h.Counts[i]
		count := cumulative
		out.Bucket = append(out.Bucket, &dto.Bucket{CumulativeCount: &count, UpperBound: &snapshot.DurationBounds[i]})
	}
	b.metric(id, nil).Histogram = out
}

func (b *builder) metric(id int, values []string) *dto.Metric {
	names := table[id].labels
	if len(b.pointers)+len(names) > cap(b.pointers) {
		b.pointers = make([]*dto.LabelPair, 0, max(256, cap(b.pointers)/4))
	}
	first := len(b.pointers)
	for i := range names {
		pair := b.last[i]
		if pair == nil || *pair.Name != names[i] || *pair.Value != values[i] {
			value := take(&b.strings)
			*value = values[i]
			pair = take(&b.pairs)
			pair.Name, pair.Value = &names[i], value
			b.last[i] = pair
		}
		b.pointers = append(b.pointers, pair)
	}
	m := take(&b.series)
	m.Label = b.pointers[first:len(b.pointers):len(b.pointers)]
	b.metrics[id] = append(b.metrics[id], m)
	return m
}

// families gives the families that have series.
func (b *builder) families() []*dto.MetricFamily {
	var families []*dto.MetricFamily
	for id, metrics := range b.metrics {
		if len(metrics) > 0 {
			m := &table[id]
			families = append(families, &dto.MetricFamily{Name: &m.name, Help: &m.help, Type: &m.kind, Metric: metrics})
		}
	}
	return families
}
