// Package series says, once, what is shown of a Snapshot: a table of metrics with their names, labels and texts, and a walk
// that hands every series to a sink. Exporters differ in how they write a series down, not in which there are.
//
// A walk goes metric by metric in the order of the table, so that a sink meets the series of a metric in one piece. It
// allocates nothing: a Series and its labels are the walker's own memory, valid during the call.
package series

import (
	"bytes"
	"time"

	"github.com/scaph/scaph/internal/snapshot"
)

// Kind is what the numbers of a metric are.
type Kind uint8

// The kinds.
const (
	Gauge     Kind = iota // a number that goes up and down
	Counter               // a number that only grows, from 0 at its creation
	Histogram             // a snapshot.Histogram; it has no labels
)

// String returns the kind as Prometheus calls it.
func (k Kind) String() string {
	switch k {
	case Counter:
		return "counter"
	case Histogram:
		return "histogram"
	}
	return "gauge"
}

// Level is what the series of a metric are of.
type Level uint8

// The levels.
const (
	Program Level = iota // the program itself
	Host                 // the host as a whole and its zones
	VM
	Process
)

// String returns the level as the reference shows it.
func (l Level) String() string { return [...]string{"program", "host", "vm", "process"}[l] }

// A Metric is a line of a table of metrics.
type Metric struct {
	Name   string
	Kind   Kind
	Unit   string // symbol of the unit: J, W, s; "" for a mere number
	Level  Level
	Labels []string // their names
	Help   string   // one line
	When   string   // when there is a series; "" for always

	walk func(*Walker) // hands the series over
}

// A Series is a metric with the values of its labels, and its number.
type Series struct {
	*Metric
	Values    Labels
	Value     float64             // of a gauge or a counter
	Histogram *snapshot.Histogram // of a histogram
	// Created is when a counter or a histogram was 0; zero where that is not known.
	Created time.Time
}

// separator ends each value in Labels. It occurs in no valid UTF-8.
const separator = 0xff

// Labels are the values of a series' labels, in the order of the metric's Labels. Each is valid UTF-8, printable and bounded
// in length, and ends in the separator. So the bytes as a whole identify a series within its metric.
type Labels []byte

// Next returns the first value, and the values after it.
func (l Labels) Next() (value []byte, rest Labels) {
	end := bytes.IndexByte(l, separator)
	return l[:end], l[end+1:]
}

// A Sink takes the series of a walk. It must keep nothing of a Series beyond the call but the Metric.
type Sink interface {
	Add(*Series)
}

// An Input is what a walk shows.
type Input struct {
	Snapshot *snapshot.Snapshot
	Program  *Status // nil: nothing is shown of the program
	System   *System // for the compatibility table; nil where nothing is known of it
}

// Status is what the program knows of itself at the time of a walk.
type Status struct {
	Start                        time.Time // when its counters were 0
	Version, Revision, GoVersion string
	Tree                         *TreeStatus           // nil where no tree is served
	Errors                       []snapshot.ErrorCount // in what the meter does not know, such as exporters; by component
}

// TreeStatus counts what happened to the tree of meters.
type TreeStatus struct {
	Reads   uint64 // of files
	Resumes uint64 // of the mount, from an earlier process
}
