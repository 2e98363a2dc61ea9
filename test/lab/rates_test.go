//go:build lab

package lab

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/test/wait"
)

// rates is how long increases are watched. All else follows from it: the longest interval of a scraper is a tenth.
var rates = flag.Duration("rates", 100*time.Second, "how long TestIncreasesAddUp scrapes; the acceptance takes 10m")

// TestIncreasesAddUp has a real Prometheus scrape scaph-host at three intervals, while real processes and stand-ins for VMs
// come and go, and scaph-host is restarted and killed. What Prometheus has stored must add up: nothing is counted
// twice or lost when a series begins or ends.
func TestIncreasesAddUp(t *testing.T) {
	longest := *rates / 10
	every := []time.Duration{2 * time.Second, longest / 4, longest}
	r := startRAPL(t)
	m := newRatesMeter(t, r, longest)
	m.start(t)
	r.resume(t)
	startChurn(t, longest*5/3)

	var config strings.Builder
	fmt.Fprint(&config, "scrape_configs:\n")
	for _, d := range every {
		fmt.Fprintf(&config, "- {job_name: %[1]q, scrape_interval: %[1]s, scrape_timeout: %[2]s, static_configs: [{targets: [%[3]q]}]}\n",
			promDuration(d), promDuration(min(d, 10*time.Second)), m.address)
	}
	p := startPrometheus(t, config.String())
	// The first scrape of a job comes at any time within its interval.
	wait.Until(t, "every job scrapes", longest+20*time.Second, func() bool {
		jobs, ok := p.query(t.Context(), `count(up == 1)`)
		return ok && int(jobs) == len(every)
	})
	began := time.Now()

	pause(t, *rates/3)
	if code := m.stop(t); code != 0 {
		t.Errorf("scaph-host exits with %d at SIGTERM", code)
	}
	m.start(t)
	pause(t, *rates/3)
	m.kill(t)
	pause(t, 3*time.Second)
	m.start(t)
	pause(t, *rates-time.Since(began)+time.Second)

	const families = `__name__=~"scaph_(zone|vm|process|unattributed)_energy_joules_(total|created)|scaph_retired_energy_joules"`
	window := promDuration(time.Since(began) + 2*longest)
	for _, d := range every {
		all := p.histories(t, fmt.Sprintf("{job=%q,%s}[%s]", promDuration(d), families, window))
		s := add(all, (longest + time.Second).Milliseconds())
		t.Logf("every %v: ratio %.6f of %.3f J, %d scrapes, %d of them late, which lost %.6f J; %d series, %d of processes that "+
			"counted, %d of VMs that are new: ratio %.6f for who does not know when they were created",
			d, s.ratio(), float64(s.zones)/1e6, s.scrapes, s.late, float64(s.lost)/1e6, len(s.last), len(s.counted), len(s.vms), s.ratioUnborn())
		for i, fault := range s.faults {
			if i < 5 {
				t.Errorf("every %v: %s", d, fault)
			}
		}
		if s.scrapes < int(*rates/d)*9/10-1 || len(s.counted) < 3 || len(s.vms) < 3 || s.retired == 0 {
			t.Errorf("every %v: the run shows nothing: %d µJ of processes retired", d, s.retired)
		}
	}
}

// promDuration writes a duration as Prometheus does.
func promDuration(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// newRatesMeter lays out a scaph-host without libvirt and without a tree.
func newRatesMeter(t *testing.T, r *rapl, longest time.Duration) *meter {
	t.Helper()
	dir := t.TempDir()
	m := &meter{binary: host(), address: fmt.Sprintf("127.0.0.1:%d", freePort(t)), config: filepath.Join(dir, "rates.yaml")}
	text := fmt.Sprintf("host: {sysfs: %s}\nlibvirt: {enabled: false}\ntree: {enabled: false}\nstate: {run: %s, lib: %s}\n"+
		"web: {listen: [%q]}\nprometheus: {scrape_interval: %s}\nprocesses: {top: 30}\n",
		r.sysfs, filepath.Join(dir, "run"), filepath.Join(dir, "lib"), m.address, longest)
	if err := os.WriteFile(m.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if m.daemon != nil {
			m.stop(t)
		}
	})
	return m
}
