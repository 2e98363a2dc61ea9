// Command tally runs go test, several times if need be, and counts the tests of all runs together:
//
//	tally [arguments of go test] [-- arguments of the next run] ...
//
// It prints what packages print, the whole output of tests that fail, for each package and reason how many tests are
// skipped, and at last, alone on a line, "N passed, N failed, N skipped". Later runs are made even when
// an earlier one fails. It exits 1 if anything failed, or if no test was executed at all.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	t := tally{out: os.Stdout}
	ok := true
	for _, arguments := range split(os.Args[1:]) {
		cmd := exec.Command("go", append([]string{"test", "-json"}, arguments...)...)
		cmd.Stderr = os.Stderr
		events, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			t.read(events)
			err = cmd.Wait()
		}
		if err != nil {
			ok = false
			fmt.Fprintln(os.Stderr, "tally:", cmd, "-", err)
		}
	}
	t.summary()
	fmt.Printf("\n%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	if !ok || t.failed > 0 || t.passed == 0 {
		os.Exit(1)
	}
}

// split takes the command line apart at each "--".
func split(arguments []string) (runs [][]string) {
	run := []string{}
	for _, a := range arguments {
		if a == "--" {
			runs, run = append(runs, run), []string{}
			continue
		}
		run = append(run, a)
	}
	return append(runs, run)
}

// An event is a line of go test -json; see "go doc test2json".
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64 // seconds
	Output  string
}

// A tally counts tests and subtests.
type tally struct {
	out                     io.Writer
	passed, failed, skipped int
	notTested               map[reason]int
}

// A reason is why tests of a package were skipped, as they said it.
type reason struct{ pkg, why string }

// summary prints what was skipped, and why.
func (t *tally) summary() {
	if len(t.notTested) > 0 {
		fmt.Fprintln(t.out, "\n*** SKIPPED, NOT PASSED:")
	}
	for _, r := range slices.SortedFunc(maps.Keys(t.notTested), func(a, b reason) int {
		return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.why, b.why))
	}) {
		fmt.Fprintf(t.out, "*** %3d in %s: %s\n", t.notTested[r], r.pkg, r.why)
	}
}

// why finds what a skipped test said last, without the place where it said so.
func why(output string) string {
	said := "no reason"
	for line := range strings.Lines(output) {
		if _, text, ok := strings.Cut(line, "_test.go:"); ok {
			_, said, _ = strings.Cut(strings.TrimSpace(text), ": ")
		} else if rest, ok := strings.CutPrefix(line, "        "); ok { // of several lines
			said += "; " + strings.TrimSpace(rest)
		}
	}
	return said
}

// slow is how long a test takes, in seconds, before its end is worth a line: a sign of life.
const slow = 5

// read takes the events of one run.
func (t *tally) read(events io.Reader) {
	type test struct{ pkg, name string }
	outputs := map[test]*bytes.Buffer{}
	failures := map[string]int{} // by package
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				_, _ = t.out.Write(line) // not of test2json
				continue
			}
			key := test{e.Package, e.Test}
			switch {
			case e.Test == "" && e.Output == "PASS\n": // "ok" follows
			case e.Action == "build-output", e.Action == "output" && e.Test == "":
				fmt.Fprint(t.out, e.Output)
			case e.Action == "output":
				if outputs[key] == nil {
					outputs[key] = &bytes.Buffer{}
				}
				outputs[key].WriteString(e.Output)
			case e.Action == "fail" && e.Test == "":
				if failures[e.Package] == 0 { // it did not build, or ended outside a test
					t.failed++
				}
			case e.Test == "":
			case e.Action == "pass":
				t.passed++
				if e.Elapsed >= slow {
					fmt.Fprintf(t.out, "--- PASS: %s (%.1fs)\n", e.Test, e.Elapsed)
				}
				delete(outputs, key)
			case e.Action == "skip":
				t.skipped++
				if t.notTested == nil {
					t.notTested = map[reason]int{}
				}
				text := ""
				if o := outputs[key]; o != nil {
					text = o.String()
				}
				t.notTested[reason{e.Package, why(text)}]++
				delete(outputs, key)
			case e.Action == "fail":
				t.failed++
				failures[e.Package]++
				if o := outputs[key]; o != nil {
					_, _ = t.out.Write(o.Bytes())
					delete(outputs, key)
				}
			}
		}
		if err != nil {
			break
		}
	}
	for key, o := range outputs { // of a test that was cut off
		fmt.Fprintf(t.out, "%s of %s did not end:\n%s", key.name, key.pkg, o)
	}
}
