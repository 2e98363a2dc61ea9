package json

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/snapshot"
)

// A writer takes reports, each whole or not at all.
type writer interface {
	// write takes a report of a time, without a line end.
	write(at time.Time, report []byte) error
	// close ends what was written, so that it is whole.
	close() error
}

type exporter struct {
	config  Config
	program export.Program
	regex   *regexp.Regexp
	out     writer
	failing bool // told, and not over
}

// run writes a report of each span between two Snapshots that is as long as the interval, until the rounds are over or ctx
// is done.
func (x *exporter) run(ctx context.Context) error {
	source := x.program.Source
	before := source.Next(ctx, 0)
	for now, rounds := before, x.program.Rounds; now != nil && rounds != 0; {
		if now = source.Next(ctx, now.Seq); now == nil {
			break
		}
		// Ticks are not to the nanosecond: what is due within half a tick is due now.
		if now.Time.Sub(before.Time) < x.config.Interval-now.Interval/2 {
			continue
		}
		x.report(before, now)
		before = now
		rounds--
	}
	return x.out.close()
}

// report writes one report. A fault is counted, told once until it is over, and leaves a gap.
func (x *exporter) report(before, now *snapshot.Snapshot) {
	encode := asLine
	if x.config.Format == arrayFormat {
		encode = asReport
	}
	text, err := encode(snapshot.Between(before, now), x.config.Top, x.regex)
	if err == nil {
		err = x.out.write(now.Time, text)
	}
	switch {
	case err != nil:
		x.program.Failed()
		if !x.failing {
			x.program.Log.Error("JSON export fails", "exporter", "json", "error", err)
		}
	case x.failing:
		x.program.Log.Info("JSON export works again", "exporter", "json")
	}
	x.failing = err != nil
}

// errForeign is why a file is left alone.
var errForeign = errors.New("it holds something else than reports in this format; move it away, or choose another file")
