package prometheus

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
)

// The numbers of fields in io/prometheus/client/metrics.proto of github.com/prometheus/client_model.
const (
	familyName, familyHelp, familyType, familyMetric              = 1, 2, 3, 4
	metricLabel, metricGauge, metricCounter, metricHistogram      = 1, 2, 3, 7
	labelName, labelValue                                         = 1, 2
	numberValue                                                   = 1 // of Gauge and Counter
	counterCreated                                                = 3
	histogramCount, histogramSum, histogramBucket, histogramBirth = 1, 2, 3, 15
	bucketCount, bucketBound                                      = 1, 2
	timeSeconds, timeNanos                                        = 1, 2

	typeCounter, typeGauge, typeHistogram = 0, 1, 4
)

// A protobuf is the protobuf format: MetricFamily messages, each after its length.
type protobuf struct{ message []byte }

// whole is true: the length of a family comes before it.
func (*protobuf) whole() bool { return true }

func (*protobuf) begin(b []byte, m *series.Metric) []byte {
	kind := uint64(typeGauge)
	switch m.Kind {
	case series.Counter:
		kind = typeCounter
	case series.Histogram:
		kind = typeHistogram
	}
	b = appendString(b, familyName, m.Name)
	b = appendString(b, familyHelp, m.Help)
	return appendUint(b, familyType, kind)
}

// end puts the length before the family, which is all of b.
func (*protobuf) end(b []byte) []byte {
	length := uint64(len(b))
	size := protowire.SizeVarint(length)
	b = append(b, make([]byte, size)...)
	copy(b[size:], b[:length])
	protowire.AppendVarint(b[:0], length)
	return b
}

// fix makes the labels of a series, and its creation time as the field of a Counter.
func (p *protobuf) fix(e *entry) {
	e.head, e.birth = nil, nil
	values := series.Labels(e.labels)
	for _, name := range e.metric.Labels {
		var value, pair []byte
		value, values = values.Next()
		pair = appendString(pair, labelName, name)
		pair = appendBytes(pair, labelValue, value)
		e.head = appendBytes(e.head, metricLabel, pair)
	}
	if e.metric.Kind == series.Counter {
		e.birth = appendTime(nil, counterCreated, e.created)
	}
}

func (p *protobuf) sample(b []byte, e *entry, value float64) []byte {
	p.message = appendFloat(p.message[:0], numberValue, value)
	p.message = append(p.message, e.birth...)
	field := protowire.Number(metricGauge)
	if e.metric.Kind == series.Counter {
		field = metricCounter
	}
	b = protowire.AppendTag(b, familyMetric, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(e.head)+protowire.SizeTag(field)+protowire.SizeBytes(len(p.message))))
	return appendBytes(append(b, e.head...), field, p.message)
}

func (*protobuf) histogram(b []byte, s *series.Series) []byte {
	h := appendUint(nil, histogramCount, s.Histogram.Count)
	h = appendFloat(h, histogramSum, s.Histogram.Sum)
	var cumulative uint64
	for i, bound := range snapshot.DurationBounds {
		cumulative += s.Histogram.Counts[i]
		h = appendBytes(h, histogramBucket, appendFloat(appendUint(nil, bucketCount, cumulative), bucketBound, bound))
	}
	h = appendTime(h, histogramBirth, s.Created)
	return appendBytes(b, familyMetric, appendBytes(nil, metricHistogram, h))
}

func appendBytes(b []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

func appendString(b []byte, field protowire.Number, value string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), value)
}

func appendUint(b []byte, field protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), value)
}

func appendFloat(b []byte, field protowire.Number, value float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(value))
}

// appendTime appends a Timestamp, unless it is zero.
func appendTime(b []byte, field protowire.Number, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	message := appendUint(nil, timeSeconds, uint64(t.Unix()))
	message = appendUint(message, timeNanos, uint64(t.Nanosecond()))
	return appendBytes(b, field, message)
}
