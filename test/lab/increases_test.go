//go:build lab

package lab

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/scaph/scaph/test/metrics"
)

// An increase is what Prometheus' arithmetic makes of the samples of one job, without its extrapolation: from one
// scrape to the next each series grew by the difference, or by all that it shows where it fell, and by nothing where
// it was not there before.
type increase struct {
	scrapes int
	late    int // of them, those after a longer time than that for which the sums are promised

	parts, zones uint64 // µJ
	// What new series of VMs showed when they were scraped for the first time. It is part of parts: they were 0 when they were
	// created, which was within the time that is looked at. A scraper that does not know that misses it.
	unborn uint64
	// What series of processes showed when they were scraped for the first time, by a scrape that was late. It is part
	// of nothing.
	lost    uint64
	retired uint64 // by processes, at the last scrape

	vms     map[string]bool // new ones, by UUID and name
	counted map[string]bool // the series of processes that grew
	faults  []string

	last map[string]uint64 // µJ by series, while it adds up
}

// ratio is 1, or increases do not add up.
func (s *increase) ratio() float64 { return float64(s.parts) / float64(s.zones) }

// ratioUnborn is the ratio for who does not know when series were created.
func (s *increase) ratioUnborn() float64 { return float64(s.parts-s.unborn) / float64(s.zones) }

// The families whose increases add up, and those that close the sum of totals.
const (
	zoneFamily         = "scaph_zone_energy_joules_total"
	vmFamily           = "scaph_vm_energy_joules_total"
	processFamily      = "scaph_process_energy_joules_total"
	unattributedFamily = "scaph_unattributed_energy_joules_total"
	retiredFamily      = "scaph_retired_energy_joules"
)

// A job is the samples of one of Prometheus' jobs.
type job struct {
	scrapes map[int64]map[string]metrics.Sample // by time stamp and series
	created map[string]float64                  // of series, in s since 1970
}

// newJob sorts samples by the scrape that they came from. The series of creation times are among them.
func newJob(all []history) (j job, faults []string) {
	j = job{scrapes: map[int64]map[string]metrics.Sample{}, created: map[string]float64{}}
	for _, h := range all {
		one := seriesOf(h)
		if name, ok := countsOf(one.Name); ok {
			one.Name, one.Key = name, name+strings.TrimPrefix(one.Key, one.Name)
			for _, p := range h.Values {
				if before, known := j.created[one.Key]; known && before != p.value && name != processFamily {
					faults = append(faults, fmt.Sprintf("%s was created at %f, and at %f", one.Key, before, p.value))
				}
				j.created[one.Key] = p.value
			}
			continue
		}
		if zone, ok := one.Labels["zone"]; ok && zone != "package" && zone != "dram" {
			continue // a part of package
		}
		for _, p := range h.Values {
			if j.scrapes[p.at] == nil {
				j.scrapes[p.at] = map[string]metrics.Sample{}
			}
			one.Value = p.value
			j.scrapes[p.at][one.Key] = one
		}
	}
	return j, faults
}

// seriesOf returns a series without what Prometheus added, and without a value.
func seriesOf(h history) metrics.Sample {
	one := metrics.Sample{Name: h.Metric["__name__"], Labels: maps.Clone(h.Metric)}
	for _, label := range []string{"__name__", "job", "instance"} {
		delete(one.Labels, label)
	}
	one.Key = one.Name
	for _, label := range slices.Sorted(maps.Keys(one.Labels)) {
		one.Key += fmt.Sprintf(",%s=%q", label, one.Labels[label])
	}
	return one
}

// countsOf returns the counter whose creation time a series of that name is.
func countsOf(created string) (counter string, ok bool) {
	for _, family := range []string{zoneFamily, vmFamily, processFamily, unattributedFamily} {
		if created == family[:len(family)-len("total")]+"created" {
			return family, true
		}
	}
	return "", false
}

// add adds up what the parts and the zones grew by. The sums are promised to whoever scrapes at intervals up to
// longest, in ms.
func add(all []history, longest int64) *increase {
	j, faults := newJob(all)
	s := &increase{vms: map[string]bool{}, counted: map[string]bool{}, last: map[string]uint64{}, faults: faults}
	times := slices.Sorted(maps.Keys(j.scrapes))
	for i, at := range times {
		now := j.scrapes[at]
		fault := func(format string, args ...any) {
			s.faults = append(s.faults, fmt.Sprintf("scrape %d of %d: ", i+1, len(times))+fmt.Sprintf(format, args...))
		}
		parts, zones, retired := totals(now)
		if parts != zones {
			fault("the parts and the retired are %d µJ, the zones %d µJ", parts, zones)
		}
		s.scrapes, s.retired = s.scrapes+1, retired
		if i == 0 {
			for key, one := range now {
				s.last[key] = one.Microjoules()
			}
			continue
		}
		late := at-times[i-1] > longest
		if late {
			s.late++
		}
		s.grow(&j, now, times[0], times[i-1], late, fault)
	}
	if s.zones == 0 || math.Abs(s.ratio()-1) > 0.002 {
		s.faults = append(s.faults, fmt.Sprintf("the parts grew by %d µJ in all, the zones by %d µJ", s.parts, s.zones))
	}
	return s
}

// published is how long it may take, in ms, until the tick that creates a series is shown: its state has to be on the disk.
const published = 11_000

// grow takes one scrape. The job's first one was at first, the one before at previous.
func (s *increase) grow(j *job, now map[string]metrics.Sample, first, previous int64, late bool, fault func(string, ...any)) {
	var parts, zones, most uint64
	fastest := ""
	for key, one := range now {
		if one.Name == retiredFamily {
			continue
		}
		value := one.Microjoules()
		before, known := s.last[key]
		s.last[key] = value
		var grown uint64
		switch {
		case known && value >= before:
			grown = value - before
		case known:
			grown = value
		case one.Name == vmFamily && j.created[key]*1000 >= float64(first):
			grown = value
			s.unborn += value
			s.vms[one.Labels["uuid"]+one.Labels["vm"]] = true
			if unseen := float64(previous-published) - j.created[key]*1000; unseen > 0 {
				fault("%s was not there %.0f ms after its creation: more than one interval of it is missed", key, unseen+published)
			}
		case late && one.Name == processFamily:
			s.lost += value
		case value > 0:
			fault("%s appears with %d µJ", key, value)
		}
		if one.Name == zoneFamily {
			zones += grown
			continue
		}
		parts += grown
		if grown > most {
			most, fastest = grown, key
		}
		if one.Name == processFamily && one.Labels["pid"] != "" && grown > 0 {
			s.counted[key] = true
		}
	}
	if parts != zones && !late {
		fault("the parts grew by %d µJ, the zones by %d µJ", parts, zones)
	}
	if most > zones {
		fault("%s grew by %d µJ, the zones by %d µJ", fastest, most, zones)
	}
	s.parts, s.zones = s.parts+parts, s.zones+zones
}

// totals sums both sides of the identity of totals, and what processes that ended have left.
func totals(scrape map[string]metrics.Sample) (parts, zones, retired uint64) {
	for _, one := range scrape {
		switch value := one.Microjoules(); {
		case one.Name == zoneFamily:
			zones += value
		case one.Name == retiredFamily && one.Labels["of"] == "process":
			retired += value
			parts += value
		default:
			parts += value
		}
	}
	return parts, zones, retired
}
