package prometheus

import (
	"io"
	"time"

	"github.com/scaph/scaph/internal/series"
)

// A format is one of the exposition formats. All of its methods append to b.
type format interface {
	// begin begins a family, end ends it: b is then the whole family, or what is left of it.
	begin(b []byte, m *series.Metric) []byte
	end(b []byte) []byte
	// fix sets what never changes of a series' own bytes: e.head, and e.birth for e.created.
	fix(e *entry)
	sample(b []byte, e *entry, value float64) []byte
	histogram(b []byte, s *series.Series) []byte
	// whole says that a family must not be sent in pieces.
	whole() bool
}

// An entry is a series that was encoded before: its bytes need not be made again, apart from its number.
type entry struct {
	metric  *series.Metric
	labels  string // series.Labels
	created time.Time
	head    []byte // of the sample, with name and labels
	birth   []byte // of the creation time; empty where that is not known or not shown

	next  *entry // that came after it in the last scrape, and most likely does so again
	round uint64 // last scrape that had it
}

type identity struct {
	metric *series.Metric
	labels string
}

// An encoder writes the series of a walk down in a format. It remembers the bytes of each series from scrape to scrape, so
// that in the steady state it formats numbers only. It is for one scrape at a time.
type encoder struct {
	format  format
	known   map[identity]*entry
	round   uint64
	used    int    // entries in this round
	first   entry  // before all others; its next is the first
	last    *entry // the series before
	metric  *series.Metric
	pending []byte
	out     io.Writer
	err     error // of out; what comes after it goes nowhere
	walker  series.Walker
}

// piece is how much is sent at once.
const piece = 32 << 10

func newEncoder(f format) *encoder {
	return &encoder{format: f, known: make(map[identity]*entry)}
}

// encode writes the series of some metrics. The metrics must be the same, in the same memory, at each call.
func (e *encoder) encode(out io.Writer, metrics []series.Metric, in series.Input) error {
	e.out, e.err, e.pending = out, nil, e.pending[:0]
	e.round++
	e.used, e.last, e.metric = 0, &e.first, nil
	e.walker.Walk(metrics, in, e)
	e.endFamily()
	e.flush()
	e.last.next = nil
	if e.used < len(e.known) {
		for id, old := range e.known {
			if old.round != e.round {
				delete(e.known, id)
			}
		}
	}
	e.out = nil
	return e.err
}

// Add writes one series down. One that was written in this scrape already is left out: two of one identity would spoil the
// whole scrape.
func (e *encoder) Add(s *series.Series) {
	if s.Metric != e.metric {
		e.endFamily()
		e.metric = s.Metric
		e.pending = e.format.begin(e.pending, s.Metric)
	}
	if s.Kind == series.Histogram {
		e.pending = e.format.histogram(e.pending, s)
		return
	}
	known := e.lookup(s)
	if known.round == e.round {
		return
	}
	known.round = e.round
	e.used++
	e.last.next, e.last = known, known
	if !known.created.Equal(s.Created) {
		known.created = s.Created
		e.format.fix(known)
	}
	e.pending = e.format.sample(e.pending, known, s.Value)
	if len(e.pending) >= piece && !e.format.whole() {
		e.flush()
	}
}

func (e *encoder) lookup(s *series.Series) *entry {
	if guess := e.last.next; guess != nil && guess.metric == s.Metric && guess.labels == string(s.Values) {
		return guess
	}
	if known := e.known[identity{s.Metric, string(s.Values)}]; known != nil {
		return known
	}
	added := &entry{metric: s.Metric, labels: string(s.Values), created: s.Created}
	e.format.fix(added)
	e.known[identity{added.metric, added.labels}] = added
	return added
}

func (e *encoder) endFamily() {
	if e.metric != nil {
		e.pending = e.format.end(e.pending)
		if e.format.whole() {
			e.flush()
		}
	}
}

func (e *encoder) flush() {
	if e.err == nil {
		_, e.err = e.out.Write(e.pending)
	}
	e.pending = e.pending[:0]
}
