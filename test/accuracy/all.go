package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/scaph/scaph/test/accuracy/judge"
)

// atOnce is how many runs go on at a time. They cost little: a run mostly waits for its meter's next tick, and
// comes to the same result however late that is.
const atOnce = 3

// programs are what is built for a run.
type programs struct {
	host, guest, oracle meter
	load, rapl          string // paths
}

// buildAll builds into dir from the source tree at top.
func buildAll(ctx context.Context, top, dir string) (programs, error) {
	p := programs{
		host:   meter{name: "scaph-host", path: filepath.Join(dir, "scaph-host"), args: hostArgs},
		guest:  meter{name: "scaph-guest", path: filepath.Join(dir, "scaph-guest"), args: guestArgs},
		oracle: meter{name: "oracle", path: filepath.Join(dir, "oracle"), args: oracleArgs},
		load:   filepath.Join(dir, "load"), rapl: filepath.Join(dir, "rapl"),
	}
	return p, errors.Join(
		build(ctx, top, p.host.path, "./cmd/scaph-host"),
		build(ctx, top, p.guest.path, "./cmd/scaph-guest"),
		build(ctx, top, p.oracle.path, "./test/accuracy/oracle"),
		build(ctx, top, p.load, "./test/accuracy/load"),
		build(ctx, top, p.rapl, "./test/plant"),
	)
}

// errBroken says that a bound is broken; the report says which.
var errBroken = errors.New("a bound is broken")

// all builds the programs, makes every run, and reports. The error is errBroken, or says why something
// could not be run.
func all(ctx context.Context, out io.Writer, seeds int, short bool) error {
	if os.Geteuid() != 0 {
		return errors.New("the simulated machine is a FUSE file system: this takes root and /dev/fuse")
	}
	if short {
		seeds = 1
	}
	began := time.Now()
	top, err := sourceTree()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "scaph-accuracy-bin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	built, err := buildAll(ctx, top, dir)
	if err != nil {
		return err
	}
	r := &report{seeds: seeds, verdicts: map[string][]judged{}}
	if err := r.simulate(ctx, built, short); err != nil {
		return err
	}
	if err := r.observe(ctx, built, short); err != nil {
		return err
	}
	if err := r.examine(ctx, built.oracle, top, dir); err != nil {
		return err
	}
	r.took = time.Since(began)
	if !r.write(out, scenarios(short)) {
		return errBroken
	}
	return nil
}

// sourceTree finds the directory of go.mod.
func sourceTree() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working directory: run this in the source tree")
		}
	}
	return "", err
}

// judged is a verdict and the bounds that it breaks.
type judged struct {
	judge.Verdict
	seed   uint64
	broken []string
}

// A report is what all runs came to.
type report struct {
	seeds int
	took  time.Duration

	mu       sync.Mutex
	verdicts map[string][]judged // of the product, by scenario
	mutants  []examined
	rules    [][]examined // mutants too, by rule
	oracle   judged
	real     []realRun
}

// examined is a mutant and why it was found out; no reason means that it got away.
type examined struct {
	name    string
	reasons []string
}

// simulate runs the product in each scenario with each seed.
func (r *report) simulate(ctx context.Context, built programs, short bool) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, s := range scenarios(short) {
		m := built.host
		if s.machine.Guest {
			m = built.guest
		}
		for seed := range uint64(r.seeds) {
			g.Go(func() error {
				v, err := perform(ctx, s, seed+1, m)
				if err != nil {
					return err
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				r.verdicts[s.name] = append(r.verdicts[s.name], judged{v, seed + 1, s.bounds.Broken(v)})
				return nil
			})
		}
	}
	return g.Wait()
}

// observe runs the product on the machine itself, alone: it has little enough to give.
func (r *report) observe(ctx context.Context, built programs, short bool) error {
	length := time.Minute
	if short {
		length = 6 * time.Second
	}
	for _, source := range []string{"bpf", "procfs"} {
		run, err := performReal(ctx, built, source, length)
		if err != nil {
			return err
		}
		r.real = append(r.real, run)
	}
	return nil
}

// examine lets the judge judge the oracle, which must pass, and the mutants, which must not; and so with the tests that
// hold a rule.
func (r *report) examine(ctx context.Context, oracle meter, top, dir string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	g.Go(func() error {
		s := examination(twoPackages)
		v, err := perform(ctx, s, 1, oracle)
		r.oracle = judged{v, 1, s.bounds.Broken(v)}
		return err
	})
	all := mutants()
	r.mutants = make([]examined, len(all))
	for i, mutant := range all {
		g.Go(func() error {
			m, err := mutant.build(ctx, top, dir)
			if err != nil {
				return err
			}
			s := examination(cmp.Or(mutant.in, twoPackages))
			v, err := perform(ctx, s, 1, m)
			if err != nil {
				return fmt.Errorf("mutant %q does not even run: %w", mutant.name, err)
			}
			r.mutants[i] = examined{mutant.name, s.bounds.Broken(v)}
			return nil
		})
	}
	tests := rules()
	r.rules = make([][]examined, len(tests))
	for i, rule := range tests {
		g.Go(func() (err error) {
			r.rules[i], err = rule.examine(ctx, top, dir)
			return err
		})
	}
	return g.Wait()
}
