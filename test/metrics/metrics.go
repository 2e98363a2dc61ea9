// Package metrics reads the text exposition format for tests. It shares no code with the programs that it judges.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// ErrNotYet is the error for an exporter that answers 503: it has no measurement yet.
var ErrNotYet = errors.New("scrape: 503, not yet")

// A Sample is one series at one scrape.
type Sample struct {
	Name   string
	Labels map[string]string
	Value  float64
	Key    string // tells the series from all others
}

// Microjoules returns the value of a series in joules, exact as long as it is below 2^53 µJ.
func (s Sample) Microjoules() uint64 { return uint64(math.Round(s.Value * 1e6)) }

// has reports whether the series has all the labels (name, value, name, value …).
func (s Sample) has(labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if s.Labels[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// A Scrape is what an exporter shows at one moment: its counters and gauges, and of its histograms the sums and counts.
type Scrape struct {
	Begun, Ended time.Time // zero unless it was fetched
	Text         string
	Samples      []Sample
}

// Fetch scrapes an exporter. The context bounds it.
func Fetch(ctx context.Context, client *http.Client, url string) (*Scrape, error) {
	begun := time.Now()
	text, err := Text(ctx, client, url)
	ended := time.Now()
	if err != nil {
		return nil, err
	}
	s, err := Parse(text)
	if err != nil {
		return nil, err
	}
	s.Begun, s.Ended = begun, ended
	return s, nil
}

// Text returns what an exporter answers, as it is.
func Text(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusServiceUnavailable:
		return "", ErrNotYet
	default:
		return "", fmt.Errorf("scrape %s: %s", url, response.Status)
	}
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// Parse reads a text by the rules of Prometheus, which refuses what is malformed or stands there twice.
func Parse(text string) (*Scrape, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("not the text format: %w", err)
	}
	s := &Scrape{Text: text}
	for _, name := range slices.Sorted(maps.Keys(families)) {
		for _, m := range families[name].GetMetric() {
			switch {
			case m.GetCounter() != nil:
				s.add(name, m, m.GetCounter().GetValue())
			case m.GetGauge() != nil:
				s.add(name, m, m.GetGauge().GetValue())
			case m.GetUntyped() != nil:
				s.add(name, m, m.GetUntyped().GetValue())
			case m.GetHistogram() != nil:
				s.add(name+"_sum", m, m.GetHistogram().GetSampleSum())
				s.add(name+"_count", m, float64(m.GetHistogram().GetSampleCount()))
			}
		}
	}
	return s, nil
}

func (s *Scrape) add(name string, m *dto.Metric, value float64) {
	one := Sample{Name: name, Labels: map[string]string{}, Value: value}
	for _, l := range m.GetLabel() {
		one.Labels[l.GetName()] = l.GetValue()
	}
	var key strings.Builder
	key.WriteString(name)
	for _, label := range slices.Sorted(maps.Keys(one.Labels)) {
		fmt.Fprintf(&key, ",%s=%q", label, one.Labels[label])
	}
	one.Key = key.String()
	s.Samples = append(s.Samples, one)
}

// Find returns the series of a name that have all the given labels (name, value, name, value …).
func (s *Scrape) Find(name string, labels ...string) []Sample {
	var found []Sample
	for _, one := range s.Samples {
		if one.Name == name && one.has(labels) {
			found = append(found, one)
		}
	}
	return found
}

// Total adds the values of all series that Find finds: the value itself where there is one.
func (s *Scrape) Total(name string, labels ...string) float64 {
	var sum float64
	for _, one := range s.Find(name, labels...) {
		sum += one.Value
	}
	return sum
}

// Sum adds the energies of all series that Find finds, in µJ.
func (s *Scrape) Sum(name string, labels ...string) uint64 {
	var sum uint64
	for _, one := range s.Find(name, labels...) {
		sum += one.Microjoules()
	}
	return sum
}

// Basis adds the energies of a family over the zones that stand side by side, in µJ: core and uncore are parts of package.
func (s *Scrape) Basis(name string, labels ...string) uint64 {
	return s.Sum(name, append(labels, "zone", "package")...) + s.Sum(name, append(labels, "zone", "dram")...)
}
