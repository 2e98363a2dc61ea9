package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// An answer is what one scrape gave and took.
type answer struct {
	text []byte  // as it came
	wall float64 // µs from the request to the last byte
	cpu  float64 // µs of the server's CPU time
}

// A scraper reads the metrics of one product over one connection, as Prometheus does.
type scraper struct {
	product *product
	client  *http.Client
	gzip    bool
}

func newScraper(p *product, gzip bool) *scraper {
	return &scraper{product: p, gzip: gzip, client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
}

func (s *scraper) scrape(ctx context.Context) (a answer, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.product.metrics, http.NoBody)
	if err != nil {
		return a, err
	}
	request.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	if s.gzip {
		request.Header.Set("Accept-Encoding", "gzip")
	}
	before, err := s.product.cpuTime()
	if err != nil {
		return a, err
	}
	began := time.Now()
	response, err := s.client.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	a.text, err = io.ReadAll(response.Body)
	a.wall = micros(time.Since(began))
	if err != nil || response.StatusCode != http.StatusOK {
		return a, fmt.Errorf("scrape %s: %s: %w", s.product.metrics, response.Status, err)
	}
	after, err := s.product.cpuTime()
	a.cpu = micros(after - before)
	return a, err
}

// afterTick is how long after its new state a tick is over for certain, so that a scrape finds a new Snapshot and
// is alone.
const afterTick = 40 * time.Millisecond

// fresh scrapes n times, each time another Snapshot.
func (s *scraper) fresh(ctx context.Context, n int) (answers []answer, err error) {
	w, err := newWatch(s.product.state)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for range n {
		if _, err := w.next(); err != nil {
			return nil, err
		}
		select {
		case <-time.After(afterTick):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		a, err := s.scrape(ctx)
		if err != nil {
			return nil, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// machines counts the virtual machines in a text that is not compressed.
func (a answer) machines() int {
	return bytes.Count(a.text, []byte("\nscaph_vm_info{uuid=\"5ca9b00c-"))
}

// await scrapes until the product knows n machines. It looks for them every few seconds.
func (p *product) await(ctx context.Context, n int) error {
	s := newScraper(p, false)
	for {
		answers, err := s.fresh(ctx, 1)
		if err != nil {
			return fmt.Errorf("wait for %d machines in %s: %w", n, p.name, err)
		}
		if answers[0].machines() >= n {
			return nil
		}
	}
}
