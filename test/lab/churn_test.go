//go:build lab

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// A churn is real processes that come and go, and stand-ins for VMs, which are processes with a qemu's name and command
// line. Each works a little: together, about half a CPU.
type churn struct {
	dir string // where their program lies, under all their names
	all *errgroup.Group
}

const (
	working  = "LOAD_THREADS=1 LOAD_DUTY=0.04"
	storming = "LOAD_STORM=5" // processes of 20 ms a second
)

// startChurn starts processes that live for 20 ms, 1 s, 12 s and lasting, a few of each kind at a time, and VMs that live
// for a part of lasting. It ends with the test.
func startChurn(t *testing.T, lasting time.Duration) {
	t.Helper()
	c := &churn{dir: t.TempDir()}
	program := filepath.Join(c.dir, "load")
	build := exec.Command("go", "build", "-o", program, "./test/accuracy/load")
	build.Dir = built.top
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("load: %v\n%s", err, out)
	}
	for _, name := range []string{"storm", "brief", "twelve", "lasting", "away", "qemu-system-x86_64"} {
		if err := os.Link(program, filepath.Join(c.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	c.all, ctx = errgroup.WithContext(ctx)
	t.Cleanup(func() {
		stop()
		if err := c.all.Wait(); err != nil {
			t.Errorf("the churn: %v", err)
		}
	})
	c.all.Go(func() error { return c.live(ctx, time.Hour, storming, "storm") })
	for place := range 3 {
		c.all.Go(func() error { return c.again(ctx, place, time.Second, "brief") })
		c.all.Go(func() error { return c.again(ctx, place, 12*time.Second, "twelve") })
		c.all.Go(func() error { return c.again(ctx, place, lasting, "lasting") })
		c.all.Go(func() error { return c.vms(ctx, place, lasting) })
	}
}

// again starts one process after the other. Those of another place are out of step.
func (c *churn) again(ctx context.Context, place int, life time.Duration, name string) error {
	first := life * time.Duration(place+1) / 3
	if err := c.live(ctx, first, working, name); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := c.live(ctx, life, working, name); err != nil {
			return err
		}
	}
	return nil
}

// vms starts a VM, which vanishes and returns, vanishes and returns under another name, and gives way to another VM.
func (c *churn) vms(ctx context.Context, place int, lasting time.Duration) error {
	random := rand.New(rand.NewPCG(uint64(place), 1))
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("churn-%d-%d", place, n/3)
		if n%3 == 2 {
			name += "-renamed"
		}
		life := lasting/3 + time.Duration(random.Int64N(int64(lasting/3)))
		err := c.live(ctx, life, working, "qemu-system-x86_64", "-name", "guest="+name+",debug-threads=on",
			"-uuid", fmt.Sprintf("5caf0000-0000-4000-8000-%06d%06d", place, n/3), "-smp", "2")
		if err != nil {
			return err
		}
		if err := c.live(ctx, lasting/12, "", "away"); err != nil { // a process that does nothing passes the time
			return err
		}
	}
	return nil
}

// live starts a process, lets it work, and ends it after a while.
func (c *churn) live(ctx context.Context, life time.Duration, work, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, life)
	defer cancel()
	cmd := exec.Command(filepath.Join(c.dir, name), args...)
	cmd.Env = append(os.Environ(), strings.Fields(work)...)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(in, "go\n")
	<-ctx.Done()
	return errors.Join(err, in.Close(), cmd.Wait())
}
