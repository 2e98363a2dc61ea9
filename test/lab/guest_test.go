//go:build lab

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/lab/reads"
	"github.com/scaph/scaph/test/wait"
)

// guestEnergy is the counter of a VM as its tenant sees it.
const guestEnergy = "/var/scaphandre/intel-rapl:0/energy_uj"

// A guest is a domain that has booted and whose probe answers.
type guest struct{ domain }

// newGuest describes a guest that shares its own directory of tree.
func newGuest(t *testing.T, name, share, cache, tree string) guest {
	t.Helper()
	uuid, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		t.Fatal(err)
	}
	return guest{domain{
		name: domainName(name), uuid: strings.TrimSpace(string(uuid)),
		share: share, cache: cache, source: filepath.Join(tree, domainName(name)), boots: true,
		probePort: freePort(t), metricsPort: freePort(t),
	}}
}

// awaitBoot waits until the probe answers. Under software emulation that takes 5 to 20 s.
func (g guest) awaitBoot(t *testing.T) {
	t.Helper()
	wait.Until(t, "boot of "+g.name, 2*time.Minute, func() bool {
		resp, err := http.Get(g.probeURL("clock", nil))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (g guest) probeURL(what string, query url.Values) string {
	return fmt.Sprintf("http://127.0.0.1:%d/%s?%s", g.probePort, what, query.Encode())
}

func (g guest) metricsURL() string { return fmt.Sprintf("http://127.0.0.1:%d/metrics", g.metricsPort) }

// ask has the probe do something and decodes its answer.
func (g guest) ask(ctx context.Context, what string, query url.Values, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, g.probeURL(what, query), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", g.name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", g.name, what, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s: %s", g.name, what, resp.Status, body)
	}
	return json.Unmarshal(body, answer)
}

// An executed command of a guest.
type executed struct {
	Code           int
	Stdout, Stderr []byte
}

// exec runs a command in the guest.
func (g guest) exec(t *testing.T, args ...string) executed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var e executed
	if err := g.ask(ctx, "exec", url.Values{"arg": args}, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// cat reads a file in the guest with busybox's cat.
func (g guest) cat(t *testing.T, path string) string {
	t.Helper()
	e := g.exec(t, "cat", path)
	if e.Code != 0 {
		t.Fatalf("%s: cat %s: %s", g.name, path, e.Stderr)
	}
	return string(e.Stdout)
}

// load keeps the guest's CPU busy for a part of the time.
func (g guest) load(t *testing.T, percent int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got int
	if err := g.ask(ctx, "load", url.Values{"percent": {strconv.Itoa(percent)}}, &got); err != nil {
		t.Fatal(err)
	}
}

// carryOut has the guest's probe carry a plan of reads out. It may be called by any goroutine.
func (g guest) carryOut(t *testing.T, p reads.Plan) reads.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*p.For+time.Minute)
	defer cancel()
	var report reads.Report
	query := url.Values{
		"path": {p.Path}, "mode": {string(p.Mode)}, "rate": {strconv.Itoa(p.Rate)},
		"for": {p.For.String()}, "range": {strconv.FormatUint(p.Range, 10)},
	}
	if err := g.ask(ctx, "read", query, &report); err != nil {
		t.Error(err)
	}
	return report
}

// cpuClock gives the CPU time of a process and its ended and living threads, from the kernel's
// clock for that process (clock_getcpuclockid(3)): nothing of it passes through /proc.
func cpuClock(t *testing.T, pid int) time.Duration {
	t.Helper()
	const schedClock = 2 // CPUCLOCK_SCHED: precise run time, rather than accounted ticks
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		t.Fatalf("CPU clock of process %d: %v", pid, err)
	}
	return time.Duration(ts.Nano())
}
