//go:build lab

package lab

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/scaph/scaph/test/metrics"
)

// A scrape is held to what scaph's metrics promise.
type scrape struct{ *metrics.Scrape }

// fetch scrapes a metrics endpoint in the text format.
func fetch(ctx context.Context, url string) (*scrape, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s, err := metrics.Fetch(ctx, http.DefaultClient, url)
	if err != nil {
		return nil, err
	}
	return &scrape{s}, nil
}

// identity checks that every microjoule of the zones is charged exactly once.
func (s *scrape) identity() error {
	zones := s.Basis("scaph_zone_energy_joules_total")
	vms := s.Basis("scaph_vm_energy_joules_total")
	processes := s.Sum("scaph_process_energy_joules_total")
	unattributed := s.Basis("scaph_unattributed_energy_joules_total")
	retired := s.Basis("scaph_retired_energy_joules")
	if charged := vms + processes + unattributed + retired; charged != zones {
		return fmt.Errorf("identity broken: VMs %d + processes %d + unattributed %d + retired %d = %d µJ, but zones %d µJ",
			vms, processes, unattributed, retired, charged, zones)
	}
	ledger := s.Find("scaph_ledger_error_joules")
	if len(ledger) != 1 || ledger[0].Value != 0 {
		return fmt.Errorf("scaph_ledger_error_joules: %v", ledger)
	}
	return nil
}
