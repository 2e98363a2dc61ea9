//go:build lab

package lab

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A sample is one series at one scrape.
type sample struct {
	name   string
	labels map[string]string
	value  float64
}

// microjoules gives the value of a series in joules, exact as long as it is below 2^53 µJ.
func (s sample) microjoules() uint64 { return uint64(math.Round(s.value * 1e6)) }

// key tells the series from all others.
func (s sample) key() string {
	var b strings.Builder
	b.WriteString(s.name)
	for _, label := range slices.Sorted(maps.Keys(s.labels)) {
		fmt.Fprintf(&b, ",%s=%q", label, s.labels[label])
	}
	return b.String()
}

// A scrape is all counters and gauges of an exporter at one moment.
type scrape struct {
	begun, ended time.Time
	text         string
	samples      []sample
}

// fetch scrapes a metrics endpoint in the text format.
func fetch(ctx context.Context, url string) (*scrape, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	s := &scrape{begun: time.Now()}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	s.ended, s.text = time.Now(), string(body)
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return s, s.parse()
}

func (s *scrape) parse() error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(s.text))
	if err != nil {
		return fmt.Errorf("not the text format: %w", err)
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			one := sample{name: name, labels: map[string]string{}}
			for _, l := range m.GetLabel() {
				one.labels[l.GetName()] = l.GetValue()
			}
			switch {
			case m.GetCounter() != nil:
				one.value = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				one.value = m.GetGauge().GetValue()
			case m.GetHistogram() != nil:
				sum := one
				sum.name, sum.value = name+"_sum", m.GetHistogram().GetSampleSum()
				s.samples = append(s.samples, sum)
				one.name, one.value = name+"_count", float64(m.GetHistogram().GetSampleCount())
			default:
				continue
			}
			s.samples = append(s.samples, one)
		}
	}
	return nil
}

// find gives the series of a name that have all the given labels (name, value, name, value …).
func (s *scrape) find(name string, labels ...string) []sample {
	var found []sample
	for _, one := range s.samples {
		if one.name == name && one.has(labels) {
			found = append(found, one)
		}
	}
	return found
}

// one gives the sum of the values of a name, which is the value where there is one series of that name.
func (s *scrape) one(name string) float64 {
	var sum float64
	for _, one := range s.find(name) {
		sum += one.value
	}
	return sum
}

func (s sample) has(labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if s.labels[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// sum adds the energies of all series that find finds.
func (s *scrape) sum(name string, labels ...string) uint64 {
	var sum uint64
	for _, one := range s.find(name, labels...) {
		sum += one.microjoules()
	}
	return sum
}

// basis adds the energies of a family over the zones that stand side by side: core and uncore
// are parts of package.
func (s *scrape) basis(name string, labels ...string) uint64 {
	return s.sum(name, append(labels, "zone", "package")...) + s.sum(name, append(labels, "zone", "dram")...)
}

// identity checks that every microjoule of the zones is charged exactly once.
func (s *scrape) identity() error {
	zones := s.basis("scaph_zone_energy_joules_total")
	vms := s.basis("scaph_vm_energy_joules_total")
	processes := s.sum("scaph_process_energy_joules_total")
	unattributed := s.basis("scaph_unattributed_energy_joules_total")
	retired := s.basis("scaph_retired_energy_joules")
	if charged := vms + processes + unattributed + retired; charged != zones {
		return fmt.Errorf("identity broken: VMs %d + processes %d + unattributed %d + retired %d = %d µJ, but zones %d µJ",
			vms, processes, unattributed, retired, charged, zones)
	}
	ledger := s.find("scaph_ledger_error_joules")
	if len(ledger) != 1 || ledger[0].value != 0 {
		return fmt.Errorf("scaph_ledger_error_joules: %v", ledger)
	}
	return nil
}
