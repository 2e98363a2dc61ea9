package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Some rules need an hour of the machine, or a power cut, and so are held by tests of the product that drive it in
// process. Here it is shown that these tests find out who breaks the rule.

// A rule is a test of the product, and the mutants that it must fail on.
type rule struct {
	pkg, test string
	mutants   []mutant
}

// rules are about what series show: nothing that was shown is shown again by another one, and what was read once never
// falls. The mistakes are those that suggest themselves.
func rules() []rule {
	return []rule{
		{"./internal/meter", "TestIncreasesAddUp", []mutant{
			{
				name: "a process moves what it has shown", file: "internal/meter/listing.go",
				old: "m.ledger.Close(s.slot, ledger.RetiredProcesses)",
				new: "m.ledger.Close(s.slot, ledger.Ended)",
			},
			{
				name: "a VM moves what it has shown", file: "internal/meter/vmseries.go",
				old: "m.ledger.Close(s.slot, ledger.RetiredVMs)",
				new: "m.ledger.Close(s.slot, ledger.Ended)",
			},
			{
				name: "a process counts at once", file: "internal/meter/listing.go",
				old: "if !s.counts && m.exposed-s.since >= m.seenAt0() {",
				new: "if !s.counts {",
			},
			{
				name: "a listed process brings its past", file: "internal/meter/listing.go",
				old: "\t\t\tm.ledger.Close(a.slot, ledger.Ended)\n\t\t\ta.slot = s.slot\n",
				new: "\t\t\tm.ledger.Close(a.slot, s.slot)\n\t\t\ta.slot = s.slot\n",
			},
			{
				name: "a series ends with its process", file: "internal/meter/listing.go",
				old: "if s.process != nil || m.exposed-s.since < 2*m.ScrapeInterval {",
				new: "if s.process != nil {",
			},
			{
				name: "a renamed VM takes its total along", file: "internal/meter/vmseries.go",
				old: "a.former = append(a.former, a.series)",
				new: "a.series.name = name\n\t\treturn",
			},
		}},
		{"./internal/state", "TestPowerCut", []mutant{
			{
				name: "written, not written ahead", file: "internal/meter/reserve.go",
				old: "m.scratch = m.encode(m.scratch[:0], true)",
				new: "m.scratch = m.encode(m.scratch[:0], false)",
			},
			{
				name: "shown before it is written", file: "internal/meter/reserve.go",
				old: "ok = ok && v <= c.durable", new: "ok = ok && v <= c.asked",
			},
			{
				name: "the file is not synced", file: "internal/state/disk.go",
				old: "err = f.Sync()", new: "err = nil",
			},
			{
				name: "the directory is not synced", file: "internal/state/disk.go",
				old: "return errors.Join(dir.Sync(), dir.Close())", new: "return dir.Close()",
			},
		}},
	}
}

// examine runs the test of a rule on the product, which must pass it, and on the mutants, which must not.
func (r rule) examine(ctx context.Context, top, dir string) ([]examined, error) {
	failures, err := r.run(ctx, top, filepath.Join(dir, r.test))
	if err == nil && failures != nil {
		err = fmt.Errorf("%s fails without any mutant:\n%s", r.test, strings.Join(failures, "\n"))
	}
	if err != nil {
		return nil, err
	}
	var all []examined
	for _, m := range r.mutants {
		base, err := m.overlay(top, dir)
		if err != nil {
			return nil, err
		}
		failures, err := r.run(ctx, top, base, "-overlay", base+".json")
		if err != nil {
			return nil, fmt.Errorf("mutant %q: %w", m.name, err)
		}
		if failures != nil {
			failures[0] = r.test + ": " + failures[0]
		}
		all = append(all, examined{m.name, failures})
	}
	return all, nil
}

// run builds the test to base.test, runs it, and returns what it says when it fails, the last first; the error says why
// it could not be run.
func (r rule) run(ctx context.Context, top, base string, flags ...string) (failures []string, err error) {
	test := exec.CommandContext(ctx, "go", append(append([]string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", base + ".test"}, flags...), r.pkg)...)
	test.Dir = top
	if out, err := test.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the tests of %s: %w\n%s", r.pkg, err, out)
	}
	test = exec.CommandContext(ctx, base+".test", "-test.run", "^"+r.test+"$", "-test.v")
	test.Dir = filepath.Join(top, r.pkg)
	out, err := test.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil && strings.Contains(string(out), "--- PASS: "+r.test+" "):
		return nil, nil
	case errors.As(err, &exit) && strings.Contains(string(out), "--- FAIL: "+r.test+" "):
	default: // there is no such test, or it does not come to an end
		return nil, fmt.Errorf("%s of %s neither passes nor fails: %w\n%s", r.test, r.pkg, err, out)
	}
	for line := range strings.Lines(string(out)) {
		if _, what, ok := strings.Cut(line, "_test.go:"); ok {
			_, what, _ = strings.Cut(strings.TrimSpace(what), ": ") // without the number of the line
			failures = append(failures, what)
		}
	}
	slices.Reverse(failures) // figures come first, then what is wrong with them
	if len(failures) == 0 {
		return nil, fmt.Errorf("%s of %s does not say why it fails:\n%s", r.test, r.pkg, out)
	}
	return failures, nil
}
