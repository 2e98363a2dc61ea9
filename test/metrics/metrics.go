// Package metrics reads the text exposition format for tests. It shares no code with the programs that it judges.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ErrNotYet is the error for an exporter that answers 503: it has no measurement yet.
var ErrNotYet = errors.New("scrape: 503, not yet")

// A Sample is one series at one scrape.
type Sample struct {
	Name   string
	Labels map[string]string
	Value  float64
	Key    string // name and labels as they stand there
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

// A Scrape is what an exporter shows at one moment.
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

// Parse reads the text format as far as scaph and the exporters beside it write it: no timestamps. It is quick enough
// for fifty scrapes a second under the race detector, where Prometheus' own parser is not; that the text is what
// Prometheus takes is asked of promtool.
func Parse(text string) (*Scrape, error) {
	lines := strings.Count(text, "\n")
	s := &Scrape{Text: text, Samples: make([]Sample, 0, lines)}
	seen := make(map[string]bool, lines)
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		one, err := parseLine(line)
		if err == nil && seen[one.Key] {
			err = errors.New("stands here twice")
		}
		if err != nil {
			return nil, fmt.Errorf("not the text format: line %d, %q: %w", n, line, err)
		}
		seen[one.Key] = true
		s.Samples = append(s.Samples, one)
	}
	return s, nil
}

func parseLine(line string) (Sample, error) {
	space := strings.LastIndexByte(line, ' ')
	if space <= 0 {
		return Sample{}, errors.New("no value")
	}
	value, err := strconv.ParseFloat(line[space+1:], 64)
	if err != nil {
		return Sample{}, err
	}
	s := Sample{Key: line[:space], Value: value, Labels: map[string]string{}}
	name, rest, labelled := strings.Cut(s.Key, "{")
	s.Name = name
	if !labelled {
		return s, nil
	}
	for rest != "}" {
		label, after, ok := strings.Cut(rest, `="`)
		if !ok {
			return Sample{}, fmt.Errorf("no label value in %q", rest)
		}
		if s.Labels[label], rest, err = labelValue(after); err != nil {
			return Sample{}, err
		}
		rest = strings.TrimPrefix(rest, ",")
	}
	return s, nil
}

// labelValue reads up to the closing quote and returns what follows it.
func labelValue(text string) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), text[i+1:], nil
		case c == '\\' && i+1 < len(text):
			i++
			if text[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(text[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", "", fmt.Errorf("label value without an end: %q", text)
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
