// Package reads reads an energy counter file at a steady rate and reports everything that a
// reader of hardware counters would be hurt by: failures, empty or ragged text, decreases, stalls.
//
// The same code runs on the host (called by the judge) and in the guests (called by the probe).
package reads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Mode is the way in which a file is read.
type Mode string

// The modes.
const (
	Open Mode = "open" // open, read, close each time: what cat does
	Held Mode = "held" // one descriptor, a seek to 0 before each read: what alumet does
)

// A Plan says what is read, how and how often: Rate × For reads in all. A reader that was held up
// catches up as fast as it can, and one on a slow machine takes longer than For.
type Plan struct {
	Path  string
	Mode  Mode
	Rate  int // reads a second
	For   time.Duration
	Range uint64 // the counter's max_energy_range_uj; a fall by more than half of it is a wrap
}

// Reads is how many reads the plan makes.
func (p Plan) Reads() int { return int(p.For.Seconds() * float64(p.Rate)) }

// A Value is a distinct value and when it was first read.
type Value struct {
	Value uint64    `json:"value"`
	At    time.Time `json:"at"`
}

// A Report is what became of a Plan.
type Report struct {
	Reads        int           `json:"reads"`
	Failures     int           `json:"failures"`      // open, read or seek failed
	Empties      int           `json:"empties"`       // nothing but white space
	Ragged       int           `json:"ragged"`        // not a number
	Unterminated int           `json:"unterminated"`  // a number without its newline
	Decreases    int           `json:"decreases"`     // smaller than before, wraps apart
	Wraps        int           `json:"wraps"`         // fell from near the range to near 0
	FirstFailure string        `json:"first_failure"` // the first of any of these, in words
	LongestStall time.Duration `json:"longest_stall"` // the slowest single read
	Median       time.Duration `json:"median"`        // of the times that single reads took
	Took         time.Duration `json:"took"`
	Values       []Value       `json:"values"` // the distinct values in order
}

// Faults counts everything in the report that a correct counter never shows.
func (r Report) Faults() int { return r.Failures + r.Empties + r.Ragged + r.Unterminated + r.Decreases }

func (r Report) String() string {
	s := fmt.Sprintf("%d reads in %s, %d failures, %d empty, %d ragged, %d unterminated, %d decreases, %d wraps, %d distinct values, median %s, longest stall %s",
		r.Reads, r.Took.Round(time.Millisecond), r.Failures, r.Empties, r.Ragged, r.Unterminated, r.Decreases, r.Wraps, len(r.Values), r.Median.Round(time.Microsecond), r.LongestStall.Round(time.Microsecond))
	if r.FirstFailure != "" {
		s += "; first: " + r.FirstFailure
	}
	return s
}

// Run carries the plan out. It ends early when ctx does.
func Run(ctx context.Context, p Plan) (Report, error) {
	if p.Rate < 1 || p.For <= 0 {
		return Report{}, fmt.Errorf("reads: rate %d/s for %s: both must be positive", p.Rate, p.For)
	}
	var source source
	switch p.Mode {
	case Open:
		source = openEach(p.Path)
	case Held:
		fd, err := unix.Open(p.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return Report{}, fmt.Errorf("open %s: %w", p.Path, err)
		}
		defer unix.Close(fd)
		source = rewind(fd)
	default:
		return Report{}, fmt.Errorf("reads: no mode %q", p.Mode)
	}
	var r Report
	took := make([]time.Duration, 0, p.Reads())
	begin := time.Now()
	finished := func() (Report, error) {
		r.Took = time.Since(begin)
		if len(took) > 0 {
			slices.Sort(took)
			r.LongestStall, r.Median = took[len(took)-1], took[len(took)/2]
		}
		return r, nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for r.Reads < p.Reads() {
		timer.Reset(time.Until(begin.Add(time.Duration(r.Reads) * time.Second / time.Duration(p.Rate))))
		select {
		case <-ctx.Done():
			return finished()
		case <-timer.C:
			start := time.Now()
			text, err := source()
			took = append(took, time.Since(start))
			r.add(start, text, err, p.Range)
		}
	}
	return finished()
}

// A source gives the file's text once. The system calls are made bare: os.File would ask for more
// of them at each open, which is much in an emulated guest.
type source func() (string, error)

func openEach(path string) source {
	return func() (string, error) {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", fmt.Errorf("open: %w", err)
		}
		defer unix.Close(fd)
		return readOnce(fd)
	}
}

func rewind(fd int) source {
	return func() (string, error) {
		if _, err := unix.Seek(fd, 0, io.SeekStart); err != nil {
			return "", fmt.Errorf("seek: %w", err)
		}
		return readOnce(fd)
	}
}

// readOnce makes one read call, as readers of sysfs do: a value that came in pieces would show.
func readOnce(fd int) (string, error) {
	var buf [64]byte
	for {
		n, err := unix.Read(fd, buf[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read: %w", err)
		}
		return string(buf[:n]), nil
	}
}

func (r *Report) add(at time.Time, text string, err error, counterRange uint64) {
	r.Reads++
	digits, terminated := strings.CutSuffix(text, "\n")
	value, parseErr := strconv.ParseUint(digits, 10, 64)
	switch {
	case err != nil:
		r.Failures++
		r.fault(at, "%v", err)
		return
	case strings.TrimSpace(text) == "":
		r.Empties++
		r.fault(at, "empty: %q", text)
		return
	case parseErr != nil:
		r.Ragged++
		r.fault(at, "not a number and a newline: %q", text)
		return
	case !terminated:
		r.Unterminated++
		r.fault(at, "no newline: %q", text)
	}
	if len(r.Values) > 0 {
		last := r.Values[len(r.Values)-1].Value
		switch {
		case value == last:
			return
		case value < last && last-value > counterRange/2:
			r.Wraps++
		case value < last:
			r.Decreases++
			r.fault(at, "%d after %d", value, last)
		}
	}
	r.Values = append(r.Values, Value{Value: value, At: at})
}

func (r *Report) fault(at time.Time, format string, args ...any) {
	if r.FirstFailure == "" {
		r.FirstFailure = at.UTC().Format("15:04:05.000 ") + fmt.Sprintf(format, args...)
	}
}
