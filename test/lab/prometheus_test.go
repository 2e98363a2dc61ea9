//go:build lab

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
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
	dir := t.TempDir()
	targets := []string{g.meter.address}
	for _, vm := range g.guests {
		targets = append(targets, fmt.Sprintf("127.0.0.1:%d", vm.metricsPort))
	}
	config := "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: scaph\n  static_configs: [{targets: [\"" +
		strings.Join(targets, `", "`) + "\"]}]\n"
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := server{address: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	start(t, "prometheus", "prometheus", "--config.file="+path, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.address)
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

// query asks for one number.
func (p server) query(ctx context.Context, promQL string) (value float64, ok bool) {
	address := "http://" + p.address + "/api/v1/query?" + url.Values{"query": {promQL}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, false
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Data.Result) != 1 {
		return 0, false
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	value, err = strconv.ParseFloat(text, 64)
	return value, err == nil
}

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
		if code, stdout, stderr := commandWithInput(t, s.Text, "promtool", "check", "metrics"); code != 0 || stdout+stderr != "" {
			t.Errorf("%s: promtool exits with %d\n%s%s", address, code, stdout, stderr)
		}
	}
}
