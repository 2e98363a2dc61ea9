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

	"github.com/scaph/scaph/internal/snapshot"
)

// Source gives the Snapshots.
type Source interface {
	// Next waits for a Snapshot with a Seq above after; nil when ctx is done.
	Next(ctx context.Context, after uint64) *snapshot.Snapshot
}

// Options say what is written, and how often.
type Options struct {
	Rounds    int            // how many; negative: until the context is done
	Processes int            // how many consumers are listed
	Regex     *regexp.Regexp // on name and executable of the consumers; nil for all
	VMsOnly   bool           // list virtual machines only, no other consumers
	Live      bool           // each round takes the place of the one before; for terminals only
	// Raw writes a Snapshot instead of a round, for programs that read along; nil for people.
	Raw func(io.Writer, *snapshot.Snapshot) error
}

// Printer writes rounds.
type Printer struct {
	options Options
	source  Source
	out     io.Writer
}

// New makes a Printer on out.
func New(source Source, out io.Writer, o Options) *Printer {
	return &Printer{options: o, source: source, out: out}
}

// Run writes a round for every Snapshot after the first, of what happened since the one before, until all rounds are
// written or ctx is done. The error is that of the writer.
func (p *Printer) Run(ctx context.Context) error {
	before := p.source.Next(ctx, 0)
	for rounds := p.options.Rounds; rounds != 0 && before != nil; rounds-- {
		now := p.source.Next(ctx, before.Seq)
		if now == nil {
			return nil
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
func (p *Printer) round(b *bytes.Buffer, before, now *snapshot.Snapshot) error {
	if p.options.Raw != nil {
		return p.options.Raw(b, now)
	}
	if p.options.Live {
		b.WriteString("\x1b[H\x1b[2J") // to the first line, and clear: ECMA-48 CUP and ED
	}
	v := snapshot.Between(before, now)
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
func WriteRound(w io.Writer, before, now *snapshot.Snapshot, o Options) error {
	var b bytes.Buffer
	if err := (&Printer{options: o}).round(&b, before, now); err != nil {
		return err
	}
	return flush(w, &b)
}
