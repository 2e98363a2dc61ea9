package reads

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAddTellsFaultsApart(t *testing.T) {
	var r Report
	for _, step := range []struct {
		text string
		err  error
	}{
		{"990\n", nil}, {"990\n", nil}, {"995\n", nil}, {"3\n", nil}, // a wrap
		{"2\n", nil},           // a decrease
		{"", nil}, {"\n", nil}, // empty
		{"12x\n", nil}, {"1\x00", nil}, // ragged
		{"6", nil}, // unterminated, but a value
		{"", errors.New("broken")},
		{"7\n", nil},
	} {
		r.add(time.Now(), step.text, step.err, 1000)
	}
	if r.Reads != 12 || r.Failures != 1 || r.Empties != 2 || r.Ragged != 2 || r.Decreases != 1 || r.Wraps != 1 || r.Unterminated != 1 {
		t.Errorf("got %s", r)
	}
	if len(r.Values) != 6 || r.Faults() != 7 {
		t.Errorf("values %v, faults %d", r.Values, r.Faults())
	}
}

func TestRunReadsAtItsRate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "energy_uj")
	if err := os.WriteFile(path, []byte("42\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []Mode{Open, Held} {
		r, err := Run(context.Background(), Plan{Path: path, Mode: mode, Rate: 200, For: 200 * time.Millisecond, Range: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if r.Reads != 40 || r.Took < 190*time.Millisecond || r.Faults() != 0 || len(r.Values) != 1 ||
			r.Median <= 0 || r.Median > r.LongestStall {
			t.Errorf("%s: %s", mode, r)
		}
	}
}

func TestRunCountsAMissingFile(t *testing.T) {
	plan := Plan{Path: filepath.Join(t.TempDir(), "none"), Mode: Open, Rate: 100, For: 50 * time.Millisecond}
	r, err := Run(context.Background(), plan)
	if err != nil || r.Failures != 5 || r.Reads != 5 {
		t.Errorf("got %s, %v", r, err)
	}
	plan.Mode = Held
	if _, err := Run(context.Background(), plan); err == nil {
		t.Error("a held descriptor on a missing file is no error")
	}
}
