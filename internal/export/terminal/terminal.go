// Package terminal writes Snapshots for people: rounds of host, sockets, virtual machines and the
// biggest consumers, and the same parts one by one for the commands that show a table.
//
// Names come from outside. They are written quoted where a terminal could take them for commands.
package terminal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/meter"
)

// Source has the last Snapshot; nil before the first tick.
type Source interface {
	Latest() *meter.Snapshot
}

// Options say what is written, how often and for how long.
type Options struct {
	Timeout   time.Duration  // of all rounds; negative: until the context is done
	Step      time.Duration  // between rounds, and the span that powers are the mean of
	Processes int            // how many consumers are listed
	Regex     *regexp.Regexp // on name and executable of the consumers; nil for all
	VMsOnly   bool           // list virtual machines only, no other consumers
	Live      bool           // each round takes the place of the one before; for terminals only
	// Raw writes a Snapshot instead of a round, for programs that read along; nil for people.
	Raw func(io.Writer, *meter.Snapshot) error
}

// Printer writes rounds.
type Printer struct {
	options Options
	source  Source
	out     io.Writer
	tick    func(time.Duration) (<-chan time.Time, func()) // a ticker's channel and its stop
}

// New makes a Printer on out.
func New(source Source, out io.Writer, o Options) *Printer {
	return &Printer{options: o, source: source, out: out, tick: func(d time.Duration) (<-chan time.Time, func()) {
		t := time.NewTicker(d)
		return t.C, t.Stop
	}}
}

// Run writes a round every step, until the timeout is over or ctx is done. A step without a new Snapshot
// writes nothing. The error is that of the writer.
func (p *Printer) Run(ctx context.Context) error {
	rounds := -1
	if p.options.Timeout >= 0 {
		rounds = max(1, int(p.options.Timeout/p.options.Step))
	}
	ticks, stop := p.tick(p.options.Step)
	defer stop()
	before := p.source.Latest()
	for ; rounds != 0; rounds-- {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
		now := p.source.Latest()
		if now == nil || now == before {
			continue
		}
		var b bytes.Buffer
		if err := p.round(&b, before, now); err != nil {
			return fmt.Errorf("formatting a round: %w", err)
		}
		if err := flush(p.out, &b); err != nil {
			return fmt.Errorf("writing a round: %w", err)
		}
		before = now
	}
	return nil
}

// round formats one round.
func (p *Printer) round(b *bytes.Buffer, before, now *meter.Snapshot) error {
	if p.options.Raw != nil {
		return p.options.Raw(b, now)
	}
	if p.options.Live {
		b.WriteString("\x1b[H\x1b[2J") // to the first line, and clear: ECMA-48 CUP and ED
	}
	v := Between(before, now)
	writeHost(b, v)
	writeSockets(b, v)
	if len(v.VMs) > 0 {
		b.WriteByte('\n')
		writeVMs(b, v)
	}
	if !p.options.VMsOnly {
		b.WriteByte('\n')
		writeConsumers(b, v, p.options.Processes, p.options.Regex)
	}
	b.WriteByte('\n')
	writeUnattributed(b, v)
	b.WriteString(strings.Repeat("-", 64) + "\n\n")
	return nil
}

// WriteRound writes one round as Run does, of two Snapshots that the caller has; before may be nil.
func WriteRound(w io.Writer, before, now *meter.Snapshot, o Options) error {
	var b bytes.Buffer
	if err := (&Printer{options: o}).round(&b, before, now); err != nil {
		return err
	}
	return flush(w, &b)
}
