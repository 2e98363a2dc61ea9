// Package judge compares what a meter exported with what is true. It knows the format of a scrape, the names of
// the metrics, and the truth ledger of the plant; of the meter, the plant and the load it knows nothing else.
package judge

import (
	"fmt"
	"io"
	"strings"
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
	all, err := parseText(text)
	if err != nil {
		return fmt.Errorf("the exposition cannot be read: %w", err)
	}
	s := scrape{zones: map[string]int64{}, accounts: map[string]int64{}, packages: map[string]int64{}, cpu: map[string]float64{}}
	present := make(map[string]bool, len(all))
	for _, x := range all {
		present[x.key] = true
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
func (j *Judge) monotone(x series) {
	if !strings.HasSuffix(x.name, "_joules_total") && x.name != "scaph_vm_cpu_seconds_total" {
		return
	}
	before, known := j.last[x.key]
	if x.name == "scaph_process_energy_joules_total" && x.labels["pid"] != "" {
		known = known && j.before[x.key]
	}
	if known && x.value < before {
		j.decreases = append(j.decreases, fmt.Sprintf("%s fell from %v to %v", x.key, before, x.value))
	}
	j.last[x.key] = x.value
}

func (s *scrape) add(x series) {
	kind := x.labels["zone"]
	basis := kind == "package" || kind == "dram"
	switch x.name {
	case "scaph_zone_energy_joules_total":
		s.zones[x.labels["path"]] = x.microjoules()
		if basis {
			s.basis += x.microjoules()
		}
	case "scaph_vm_energy_joules_total":
		if basis {
			s.accounts[x.labels["uuid"]] += x.microjoules()
		}
		if kind == "package" {
			s.packages[x.labels["uuid"]] += x.microjoules()
		}
	case "scaph_process_energy_joules_total":
		s.accounts[processes] += x.microjoules()
		if x.labels["pid"] == "" {
			s.rest = x.microjoules()
		}
	case "scaph_retired_energy_joules":
		of := "retired"
		if x.labels["of"] == "process" {
			of = processes
		}
		if basis {
			s.accounts[of] += x.microjoules()
		}
	case "scaph_unattributed_energy_joules_total":
		if basis {
			s.accounts[x.labels["reason"]] += x.microjoules()
		}
	case "scaph_vm_cpu_seconds_total":
		s.cpu[x.labels["uuid"]] = x.value
	case "scaph_errors_total":
		s.errors += x.value
	case "scaph_ledger_error_joules":
		s.ledger = x.value
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
