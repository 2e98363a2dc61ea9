package series

import (
	"strconv"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
)

// A Walker walks over Snapshots, one at a time. The zero value is ready; it is worth keeping for its memory.
type Walker struct {
	Input
	sink   Sink
	series Series
	values Labels         // memory for those of series, between walks
	kinds  energy.KindSet // that consumers are charged for

	// What the labels of each VM's series begin with, one after the other, those of FormerVMs at the end: most series of a
	// host with many VMs are theirs, and to look at a name takes longer than to copy it.
	vms    Labels
	vmEnds []int // in vms
}

// Walk hands the series of some metrics to a sink, metric by metric.
func (w *Walker) Walk(metrics []Metric, in Input, sink Sink) {
	w.Input, w.sink = in, sink
	w.kinds = w.Snapshot.Charged()
	w.setVMs()
	for i := range metrics {
		w.series.Metric = &metrics[i]
		w.series.Values = w.series.Values[:0]
		metrics[i].walk(w)
	}
	w.values = w.series.Values
	w.Input, w.sink = Input{}, nil
}

func (w *Walker) setVMs() {
	w.vmEnds = w.vmEnds[:0]
	w.series.Values = w.vms[:0]
	add := func(uuid, name string) {
		w.text(uuid)
		w.text(name)
		w.vmEnds = append(w.vmEnds, len(w.series.Values))
	}
	for i := range w.Snapshot.VMs {
		add(w.Snapshot.VMs[i].UUID, w.Snapshot.VMs[i].Name)
	}
	for i := range w.Snapshot.FormerVMs {
		add(w.Snapshot.FormerVMs[i].UUID, w.Snapshot.FormerVMs[i].Name)
	}
	w.vms, w.series.Values = w.series.Values, w.values
}

// vm appends uuid and name of a VM, or after all VMs of a former one, and returns how long they are.
func (w *Walker) vm(i int) int {
	start := 0
	if i > 0 {
		start = w.vmEnds[i-1]
	}
	w.series.Values = append(w.series.Values, w.vms[start:w.vmEnds[i]]...)
	return len(w.series.Values)
}

// text appends the value of a label that comes from outside.
func (w *Walker) text(value string) {
	w.series.Values = append(appendPrintable(w.series.Values, value, maxLabel), separator)
}

// word appends the value of a label that is one of our own words.
func (w *Walker) word(value string) {
	w.series.Values = append(append(w.series.Values, value...), separator)
}

func (w *Walker) number(value int) {
	w.series.Values = append(strconv.AppendInt(w.series.Values, int64(value), 10), separator)
}

// add hands over the series whose labels were appended, and takes those away that were appended after the first keep bytes.
func (w *Walker) add(value float64, created time.Time, keep int) {
	w.series.Value, w.series.Created = value, created
	w.sink.Add(&w.series)
	w.series.Values = w.series.Values[:keep]
}

// gauge and counter hand over a series with the labels appended.
func (w *Walker) gauge(value float64) { w.add(value, time.Time{}, 0) }

func (w *Walker) counter(value float64, created time.Time) { w.add(value, created, 0) }

func (w *Walker) histogram(h *snapshot.Histogram) {
	w.series.Histogram = h
	w.add(0, w.start(), 0)
	w.series.Histogram = nil
}

// start is when the counters of the program were 0.
func (w *Walker) start() time.Time {
	if w.Program == nil {
		return time.Time{}
	}
	return w.Program.Start
}
