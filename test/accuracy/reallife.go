package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/scaph/scaph/test/accuracy/judge"
	"github.com/scaph/scaph/test/wait"
)

// guests are the stand-ins: threads, and how much of a CPU each wants. Together with the storm they leave
// the machine some room.
var guests = []struct{ threads, duty string }{{"1", "0.2"}, {"3", "0.1"}, {"5", "0.02"}}

// stormRate is how many processes of 20 ms are started in a second.
const stormRate = "25"

// performReal lets the load run for a while under a meter that takes CPU time from the given source.
func performReal(ctx context.Context, p programs, source string, length time.Duration) (r realRun, err error) {
	ctx, cancel := context.WithTimeout(ctx, length+2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "scaph-accuracy-")
	if err != nil {
		return r, err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		}
	}()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "rapl"), 0o755), writeRealConfig(dir, source)); err != nil {
		return r, err
	}
	plant, err := startRAPL(ctx, p.rapl, filepath.Join(dir, "rapl"))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, plant.stop()) }()
	loads, err := startLoads(ctx, p.load, dir)
	defer func() {
		for _, l := range loads {
			_ = l.cmd.Process.Kill()
			_ = l.cmd.Wait() // it was killed
		}
	}()
	if err != nil {
		return r, err
	}
	m, err := p.host.start(ctx, dir)
	if err != nil {
		return r, err
	}
	defer m.kill()
	r.source, r.worked = source, length
	if err := r.observe(ctx, m, plant, loads, length); err != nil {
		return r, fmt.Errorf("real machine, %s: %w", source, err)
	}
	return r, nil
}

// startLoads starts the stand-ins, and the storm as the last one. All rest.
func startLoads(ctx context.Context, load, dir string) ([]*standIn, error) {
	qemu := filepath.Join(dir, "qemu-system-x86_64")
	program, err := os.ReadFile(load)
	if err == nil {
		err = os.WriteFile(qemu, program, 0o755)
	}
	if err != nil {
		return nil, err
	}
	var loads []*standIn
	for i, g := range guests {
		uuid := fmt.Sprintf("%08x-3333-4333-8333-%012x", os.Getpid(), i+1)
		args := []string{"-name", fmt.Sprintf("guest=stand-in-%d", i+1), "-uuid", uuid}
		l, err := startLoad(ctx, qemu, uuid, args, "LOAD_THREADS="+g.threads, "LOAD_DUTY="+g.duty)
		if err != nil {
			return loads, err
		}
		loads = append(loads, l)
	}
	storm, err := startLoad(ctx, load, "", nil, "LOAD_STORM="+stormRate)
	if err != nil {
		return loads, err
	}
	return append(loads, storm), nil
}

// observe takes a scrape, lets the load work, and takes another.
func (r *realRun) observe(ctx context.Context, m *running, plant *rapl, loads []*standIn, length time.Duration) error {
	truth := judge.Real{Machines: map[string]float64{}}
	before := make([]clocks, len(loads))
	for i, l := range loads {
		var err error
		if before[i], err = l.rest(); err != nil {
			return err
		}
	}
	for _, l := range loads[:len(loads)-1] {
		if err := m.awaitText(ctx, l.uuid); err != nil {
			return fmt.Errorf("stand-in %s is not found: %w", l.uuid, err)
		}
	}
	var err error
	if truth.Before, err = m.settled(ctx); err != nil {
		return err
	}
	began, err := busy()
	if err != nil {
		return err
	}
	if err := plant.resume(ctx); err != nil {
		return err
	}
	for _, l := range loads {
		if err := l.work(); err != nil {
			return err
		}
	}
	select {
	case <-time.After(length):
	case <-ctx.Done():
		return ctx.Err()
	}
	for i, l := range loads {
		after, err := l.rest()
		if err != nil {
			return err
		}
		if l.uuid == "" {
			r.storm, r.count = after.Children-before[i].Children, after.Count
			continue
		}
		truth.Machines[l.uuid] = after.Process - before[i].Process
	}
	ended, err := busy()
	if err != nil {
		return err
	}
	if err := plant.freeze(ctx); err != nil {
		return err
	}
	truth.Busy = ended - began
	if truth.After, err = m.settled(ctx); err != nil {
		return err
	}
	if truth.Zones, err = plant.zones(ctx); err != nil {
		return err
	}
	r.verdict, err = truth.Judge()
	return err
}

// settled waits until two further ticks are over, and scrapes.
func (m *running) settled(ctx context.Context) (string, error) {
	const counter = "\nscaph_sample_duration_seconds_count "
	ticks := func(text string) string {
		_, rest, _ := strings.Cut(text, counter)
		n, _, _ := strings.Cut(rest, "\n")
		return n
	}
	var last string
	changes := 0
	return m.await(ctx, func(text string) bool {
		now := ticks(text)
		if now != last {
			last = now
			changes++
		}
		return changes > 3
	})
}

func (m *running) awaitText(ctx context.Context, wanted string) error {
	_, err := m.await(ctx, func(text string) bool { return strings.Contains(text, wanted) })
	return err
}

// awaited bounds how long what a meter is to show may take.
const awaited = time.Minute

// await scrapes until good says so.
func (m *running) await(ctx context.Context, good func(text string) bool) (string, error) {
	var text string
	var err error
	done := wait.For(ctx, awaited, func() bool {
		text, err = m.scrape(ctx)
		return err != nil || good(text)
	})
	if err == nil && !done {
		err = fmt.Errorf("the meter does not show what is waited for: not within %v", awaited)
	}
	return text, err
}

func (r *rapl) stop() error {
	_ = r.cmd.Cancel() // it may have ended
	return r.cmd.Wait()
}

func post(ctx context.Context, url string) error {
	_, err := request(ctx, http.MethodPost, url)
	return err
}

func get(ctx context.Context, url string) (string, error) { return request(ctx, http.MethodGet, url) }

func request(ctx context.Context, method, url string) (string, error) {
	q, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(q)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", method, url, response.Status)
	}
	return string(body), err
}
