package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/accuracy/judge"
	"github.com/scaph/scaph/test/accuracy/machine"
	"github.com/scaph/scaph/test/wait"
)

// A scenario is a kind of machine, what happens to the meter on it, and what the meter has to keep.
type scenario struct {
	name    string
	machine machine.Options // without the seed
	steps   int
	kills   int     // SIGKILLs of the meter, spread over the steps
	faults  float64 // the part of all reads that fail
	bounds  judge.Bounds
}

// scrapeEvery is well below a tick, so that no window is missed.
const scrapeEvery = 20 * time.Millisecond

// A run is one scenario with one seed and one meter.
type run struct {
	scenario
	meter   meter
	dir     string
	machine *machine.Machine
	judge   *judge.Judge
	now     *running
	random  *rand.Rand
}

// perform runs a meter on a simulated machine and judges it.
func perform(ctx context.Context, s scenario, seed uint64, m meter) (_ judge.Verdict, err error) {
	dir, err := os.MkdirTemp("", "scaph-accuracy-")
	if err != nil {
		return judge.Verdict{}, err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		}
	}()
	truth, err := os.Create(filepath.Join(dir, "truth"))
	if err != nil {
		return judge.Verdict{}, err
	}
	defer truth.Close()
	r := &run{scenario: s, meter: m, dir: dir, judge: judge.New(), random: rand.New(rand.NewPCG(seed, 2))}
	s.machine.Seed = seed
	r.machine = machine.New(s.machine, truth)
	if err := r.live(ctx); err != nil {
		return judge.Verdict{}, fmt.Errorf("%s, seed %d, %s: %w (kept: %s)", s.name, seed, m.name, err, dir)
	}
	if err := r.machine.Err(); err != nil {
		return judge.Verdict{}, err
	}
	if _, err := truth.Seek(0, 0); err != nil {
		return judge.Verdict{}, err
	}
	return r.judge.Judge(truth)
}

// live mounts the machine and lets the meter go through the scenario.
func (r *run) live(ctx context.Context) (err error) {
	mount := filepath.Join(r.dir, "machine")
	if err := os.Mkdir(mount, 0o755); err != nil {
		return err
	}
	if err := writeConfigs(r.dir); err != nil {
		return err
	}
	server, err := r.machine.Mount(mount)
	if err != nil {
		return fmt.Errorf("mount the simulated machine (it takes root and /dev/fuse): %w", err)
	}
	defer func() { err = errors.Join(err, unmount(server)) }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute+time.Duration(r.steps)*time.Second)
	defer cancel()
	tree := filepath.Join(r.dir, "tree")
	defer func() {
		if r.now != nil {
			r.now.kill()
		}
		err = errors.Join(err, detach(tree))
	}()
	if err := r.start(ctx); err != nil {
		return err
	}
	reader := readTree(ctx, tree)
	defer reader.close() // before the tree's server is killed
	r.machine.Release()
	r.machine.Spoil(r.faults)
	for kill := range r.kills {
		if err := r.until(ctx, r.steps*(kill+1)/(r.kills+1)); err != nil {
			return err
		}
		if err := r.restart(ctx); err != nil {
			return err
		}
	}
	if err := r.until(ctx, r.steps); err != nil {
		return err
	}
	if err := r.finish(ctx); err != nil {
		return err
	}
	// The tree is published at its own pace. The machine is held, so that it comes to rest soon.
	if err := r.looks(ctx, 5); err != nil {
		return err
	}
	reader.close()
	reader.readAll()
	r.judge.Tree(reader.tree)
	return nil
}

// unmount ends the simulated machine. Just after a reader was killed the kernel may still be closing its files.
func unmount(server *fuse.Server) (err error) {
	if !wait.For(context.Background(), startTimeout, func() bool { err = server.Unmount(); return err == nil }) {
		return fmt.Errorf("unmount the simulated machine: %w", err)
	}
	return nil
}

// detach takes away the tree that a killed meter leaves behind. Not every meter has one.
func detach(tree string) error {
	err := unix.Unmount(tree, unix.MNT_DETACH)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("unmount %s: %w", tree, err)
}

// start starts the meter and waits for its first measurement.
func (r *run) start(ctx context.Context) error {
	started, err := r.meter.start(ctx, r.dir)
	if err != nil {
		return err
	}
	r.now = started
	have := r.judge.Scrapes()
	err = r.poll(ctx, func() bool { return r.judge.Scrapes() > have })
	if err != nil {
		r.now.kill()
	}
	return err
}

// restart kills the meter at any moment of its tick, and lets the machine go on without it for some steps.
func (r *run) restart(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(r.random.IntN(120)) * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	r.machine.Away(true)
	r.now.kill()
	r.machine.Step(1 + r.random.IntN(3))
	err := r.start(ctx)
	r.machine.Away(false)
	return err
}

// until scrapes until the machine has made so many steps.
func (r *run) until(ctx context.Context, steps int) error {
	return r.poll(ctx, func() bool {
		_, made := r.machine.Progress()
		return made >= steps
	})
}

// finish stops the machine, and waits for ticks that begin after that: the last scrape shows everything.
func (r *run) finish(ctx context.Context) error {
	r.machine.Hold()
	r.machine.Spoil(0)
	return r.looks(ctx, 3)
}

// looks waits until the meter has begun n more ticks.
func (r *run) looks(ctx context.Context, n int) error {
	before, _ := r.machine.Progress()
	return r.poll(ctx, func() bool {
		looks, _ := r.machine.Progress()
		return looks >= before+n
	})
}

// poll scrapes until done says so, and once more.
func (r *run) poll(ctx context.Context, done func() bool) error {
	ticker := time.NewTicker(scrapeEvery)
	defer ticker.Stop()
	for ended := false; !ended; {
		ended = done()
		select {
		case <-ticker.C:
		case <-r.now.done:
			return fmt.Errorf("the meter ended by itself: %w", r.now.err)
		case <-ctx.Done():
			return fmt.Errorf("the meter does not tick: %w", ctx.Err())
		}
		text, err := r.now.scrape(ctx)
		if err != nil {
			return err
		}
		if err := r.judge.Scrape(text); err != nil {
			return err
		}
	}
	return nil
}
