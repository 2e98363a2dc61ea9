// Package judge compares what a meter exported with what is true. It knows the format of a scrape, the names of
// the metrics, and the truth ledger of the plant; of the meter, the plant and the load it knows nothing else.
package judge

import (
	"fmt"
	"io"
	"strings"

	"github.com/scaph/scaph/test/metrics"
)

// A Judge collects the scrapes of one run.
type Judge struct {
	scrapes   []scrape
	last      map[string]float64 // of every counter: its last value
	before    map[string]bool    // the series of the scrape before
	decreases []string
	tree      *Tree
}

// A scrape is what the judge takes from an exposition, in µJ since the start of the run.
type scrape struct {
	zones    map[string]int64 // by powercap id
	basis    int64            // Σ packages and dram
	packages map[string]int64 // by UUID: the package zones alone
	accounts map[string]int64 // as in the truth; what is unreserved or of machines gone too, by these words
	rest     int64            // of the processes: what those without a series have, and those that ended
	cpu      map[string]float64
	errors   float64 // scaph_errors_total
	ledger   float64 // scaph_ledger_error_joules
}

// New makes a Judge that has seen nothing.
func New() *Judge { return &Judge{last: make(map[string]float64)} }

// Scrape takes the text of one scrape. They come in the order of time, those of a restarted meter too.
func (j *Judge) Scrape(text string) error {
	exposition, err := metrics.Parse(text)
	if err != nil {
		return fmt.Errorf("the exposition cannot be read: %w", err)
	}
	s := scrape{zones: map[string]int64{}, accounts: map[string]int64{}, packages: map[string]int64{}, cpu: map[string]float64{}}
	present := make(map[string]bool, len(exposition.Samples))
	for _, x := range exposition.Samples {
		present[x.Key] = true
		j.monotone(x)
		s.add(x)
	}
	j.before = present
	if len(s.zones) > 0 { // else the first tick is not over
		j.scrapes = append(j.scrapes, s)
	}
	return nil
}

// Scrapes tells how many there were with anything in them.
func (j *Judge) Scrapes() int { return len(j.scrapes) }

// monotone looks whether a counter fell. The series of a process may end and begin anew; those of zones, machines
// and what is unattributed are compared over any gap.
func (j *Judge) monotone(x metrics.Sample) {
	if !strings.HasSuffix(x.Name, "_joules_total") && x.Name != "scaph_vm_cpu_seconds_total" {
		return
	}
	before, known := j.last[x.Key]
	if x.Name == "scaph_process_energy_joules_total" && x.Labels["pid"] != "" {
		known = known && j.before[x.Key]
	}
	if known && x.Value < before {
		j.decreases = append(j.decreases, fmt.Sprintf("%s fell from %v to %v", x.Key, before, x.Value))
	}
	j.last[x.Key] = x.Value
}

func (s *scrape) add(x metrics.Sample) {
	kind, energy := x.Labels["zone"], int64(x.Microjoules())
	basis := kind == "package" || kind == "dram"
	switch x.Name {
	case "scaph_zone_energy_joules_total":
		s.zones[x.Labels["path"]] = energy
		if basis {
			s.basis += energy
		}
	case "scaph_vm_energy_joules_total":
		if basis {
			s.accounts[x.Labels["uuid"]] += energy
		}
		if kind == "package" {
			s.packages[x.Labels["uuid"]] += energy
		}
	case "scaph_process_energy_joules_total":
		s.accounts[processes] += energy
		if x.Labels["pid"] == "" {
			s.rest = energy
		}
	case "scaph_retired_energy_joules":
		of := "retired"
		if x.Labels["of"] == "process" {
			of = processes
		}
		if basis {
			s.accounts[of] += energy
		}
	case "scaph_unattributed_energy_joules_total":
		if basis {
			s.accounts[x.Labels["reason"]] += energy
		}
	case "scaph_vm_cpu_seconds_total":
		s.cpu[x.Labels["uuid"]] = x.Value
	case "scaph_errors_total":
		s.errors += x.Value
	case "scaph_ledger_error_joules":
		s.ledger = x.Value
	}
}

// Judge gives the verdict, once the run is over. truth is the plant's ledger.
func (j *Judge) Judge(truth io.Reader) (Verdict, error) {
	moments, err := readTruth(truth)
	if err != nil {
		return Verdict{}, err
	}
	if len(j.scrapes) == 0 {
		return Verdict{}, fmt.Errorf("there was no scrape with a zone in it")
	}
	return j.verdict(moments), nil
}
