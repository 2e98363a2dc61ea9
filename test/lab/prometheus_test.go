//go:build lab

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/test/wait"
)

// A server is a real Prometheus.
type server struct{ address string }

// testPrometheus has a real Prometheus server scrape the host and both guests.
func testPrometheus(t *testing.T, g *ground) {
	targets := []string{g.meter.address}
	for _, vm := range g.guests {
		targets = append(targets, fmt.Sprintf("127.0.0.1:%d", vm.metricsPort))
	}
	p := startPrometheus(t, "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: scaph\n  static_configs: [{targets: [\""+
		strings.Join(targets, `", "`)+"\"]}]\n")
	wait.Until(t, "every target is up", 40*time.Second, func() bool {
		value, ok := p.query(t.Context(), `sum(up{job="scaph"})`)
		return ok && value == float64(len(targets))
	})
	for _, vm := range g.guests {
		query := fmt.Sprintf(`sum(rate(scaph_vm_energy_joules_total{uuid=%q}[10s]))`, vm.uuid)
		wait.Until(t, "the power of "+vm.name+" in Prometheus", 20*time.Second, func() bool {
			watts, ok := p.query(t.Context(), query)
			return ok && watts > 0
		})
		query = fmt.Sprintf(`sum(rate(scaph_process_energy_joules_total{instance="127.0.0.1:%d"}[10s]))`, vm.metricsPort)
		wait.Until(t, "the power of processes in "+vm.name, 20*time.Second, func() bool {
			watts, ok := p.query(t.Context(), query)
			return ok && watts > 0
		})
	}
	// The identity, by someone who knows PromQL only. Floats there, so not exact.
	difference, ok := p.query(t.Context(), fmt.Sprintf(`(sum(scaph_vm_energy_joules_total{instance=%[1]q,zone=~"package|dram"})`+
		` + sum(scaph_process_energy_joules_total{instance=%[1]q})`+
		` + sum(scaph_unattributed_energy_joules_total{instance=%[1]q,zone=~"package|dram"})`+
		` + sum(scaph_retired_energy_joules{instance=%[1]q,zone=~"package|dram"}))`+
		` - sum(scaph_zone_energy_joules_total{instance=%[1]q,zone=~"package|dram"})`, g.meter.address))
	if !ok || difference > 1e-6 || difference < -1e-6 {
		t.Errorf("the identity in PromQL: %v J", difference)
	}
}

// startPrometheus starts a server with a configuration.
func startPrometheus(t *testing.T, config string) server {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := server{address: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	start(t, "prometheus", "prometheus", "--config.file="+path, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.address)
	return p
}

// query asks for one number.
func (p server) query(ctx context.Context, promQL string) (value float64, ok bool) {
	var result []struct{ Value point }
	if err := p.ask(ctx, promQL, &result); err != nil || len(result) != 1 {
		return 0, false
	}
	return result[0].Value.value, true
}

// A history is a series and its samples, as they were stored.
type history struct {
	Metric map[string]string
	Values []point
}

// A point is one sample: Prometheus writes it as [seconds, "value"].
type point struct {
	at    int64 // ms since 1970, the time stamp of the scrape: all that comes from one has the same
	value float64
}

func (p *point) UnmarshalJSON(b []byte) (err error) {
	var at float64
	var value string
	if err := json.Unmarshal(b, &[]any{&at, &value}); err != nil {
		return err
	}
	p.at = int64(math.Round(at * 1000))
	p.value, err = strconv.ParseFloat(value, 64)
	return err
}

// histories asks for the samples that a range selector selects.
func (p server) histories(t *testing.T, selector string) (all []history) {
	t.Helper()
	if err := p.ask(t.Context(), selector, &all); err != nil {
		t.Fatalf("%s: %v", selector, err)
	}
	return all
}

// ask evaluates an expression now.
func (p server) ask(ctx context.Context, promQL string, result any) error {
	address := "http://" + p.address + "/api/v1/query?" + url.Values{"query": {promQL}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	return json.Unmarshal(answer.Data.Result, result)
}

// scaphandres are complaints about the units of the series that have scaphandre's names.
var scaphandres = regexp.MustCompile(`^scaph_(\w+_microjoules|process_disk_total_(read|write)_bytes) ` +
	`(counter metrics should have "_total" suffix|use base unit "joules" instead of "microjoules")\n$`)

// testPromtool has promtool judge names, help and types on the host and in the guests.
func testPromtool(t *testing.T, g *ground) {
	urls := []string{g.meter.metricsURL()}
	for _, vm := range g.guests {
		urls = append(urls, vm.metricsURL())
	}
	for _, address := range urls {
		s, err := fetch(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := commandWithInput(t, s.Text, "promtool", "check", "metrics")
		native := 0
		for line := range strings.Lines(stdout + stderr) {
			if !scaphandres.MatchString(line) {
				native++
			}
		}
		if native > 0 || code != 0 && stdout+stderr == "" {
			t.Errorf("%s: promtool exits with %d\n%s%s", address, code, stdout, stderr)
		}
	}
}
