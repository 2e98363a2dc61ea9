package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/config"
)

// A Verdict is how one part of a pre-flight check ended.
type Verdict string

// The verdicts. Only Fail keeps the service from working.
const (
	OK   Verdict = "ok"
	Note Verdict = "note" // something is missing that the service can do without
	Fail Verdict = "FAIL"
)

// A Finding is one line of a pre-flight check.
type Finding struct {
	Verdict Verdict
	Part    string // sensor, CPU time, …
	What    string // was found
	Mend    string // what to do about it, "" where nothing is to be done
}

// Report writes the findings, and gives Failed if the service could not work.
func Report(w io.Writer, findings []Finding) error {
	failed := false
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%-4s  %-12s %s\n", f.Verdict, f.Part, f.What)
		if f.Mend != "" {
			fmt.Fprintf(&b, "%19s-> %s\n", "", f.Mend)
		}
		failed = failed || f.Verdict == Fail
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if failed {
		return Failed
	}
	return nil
}

// CheckCPUTime looks at the source of CPU time.
func CheckCPUTime(c config.Config) Finding {
	what, note, err := app.CheckCPUTime(c)
	switch {
	case err != nil:
		return Finding{Verdict: Fail, Part: "CPU time", What: err.Error(), Mend: note}
	case note != "":
		return Finding{Verdict: Note, Part: "CPU time", What: what, Mend: note}
	}
	return Finding{Verdict: OK, Part: "CPU time", What: what}
}
