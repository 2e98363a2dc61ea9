package json

import (
	"cmp"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
)

// A report is what scaphandre writes: consumption in µW, times in seconds since 1970.
type report struct {
	Host      host       `json:"host"`
	Consumers []consumer `json:"consumers"`
	Sockets   []socket   `json:"sockets"`
}

type host struct {
	Consumption float64    `json:"consumption"`
	Timestamp   float64    `json:"timestamp"`
	Components  components `json:"components"`
}

// components are there for those who read them; disks are not looked at.
type components struct {
	Disks []struct{} `json:"disks"`
}

type consumer struct {
	Exe         string    `json:"exe"`
	Cmdline     string    `json:"cmdline"` // the name of the process or of the VM: command lines are not read
	PID         int32     `json:"pid"`
	Consumption float64   `json:"consumption"`
	Timestamp   float64   `json:"timestamp"`
	Resources   *struct{} `json:"resources_usage"` // null
	Container   *struct{} `json:"container"`       // null
}

type socket struct {
	ID          int      `json:"id"`
	Consumption float64  `json:"consumption"`
	Domains     []domain `json:"domains"`
	Timestamp   float64  `json:"timestamp"`
}

type domain struct {
	Name        string  `json:"name"`
	Consumption float64 `json:"consumption"`
	Timestamp   float64 `json:"timestamp"`
}

// asReport makes a report of a View, with so many consumers.
func asReport(v snapshot.View, top int, match *regexp.Regexp) ([]byte, error) {
	at := float64(v.Time.UnixMicro()) / 1e6
	r := report{
		Host:      host{Consumption: microwatts(v.HostPower), Timestamp: at, Components: components{Disks: []struct{}{}}},
		Consumers: []consumer{}, Sockets: []socket{},
	}
	for _, c := range consumers(v, top, match) {
		r.Consumers = append(r.Consumers, consumer{
			Exe: series.LabelValue(c.Exe), Cmdline: series.LabelValue(c.Comm), PID: c.PID,
			Consumption: microwatts(c.Power), Timestamp: at,
		})
	}
	for i := range v.Zones {
		z := &v.Zones[i]
		if z.Package < 0 {
			continue
		}
		s := socketOf(&r, z.Package, at)
		if z.Kind == energy.Package {
			s.Consumption += microwatts(v.ZonePower[i]) // the dies of a socket are summed
			continue
		}
		j := slices.IndexFunc(s.Domains, func(d domain) bool { return d.Name == z.Kind.String() })
		if j < 0 {
			j, s.Domains = len(s.Domains), append(s.Domains, domain{Name: z.Kind.String(), Timestamp: at})
		}
		s.Domains[j].Consumption += microwatts(v.ZonePower[i])
	}
	slices.SortFunc(r.Sockets, func(a, b socket) int { return cmp.Compare(a.ID, b.ID) })
	return json.Marshal(r)
}

// socketOf returns the socket of a package, made where it is missing.
func socketOf(r *report, id int, at float64) *socket {
	i := slices.IndexFunc(r.Sockets, func(s socket) bool { return s.ID == id })
	if i < 0 {
		i, r.Sockets = len(r.Sockets), append(r.Sockets, socket{ID: id, Domains: []domain{}, Timestamp: at})
	}
	return &r.Sockets[i]
}

// A line is everything of a span, with units in the names.
type line struct {
	Time         time.Time `json:"time"` // the end of the span
	SpanSeconds  float64   `json:"span_seconds"`
	Source       string    `json:"source"`
	Simulated    bool      `json:"simulated"`
	Host         meter     `json:"host"`
	Zones        []zone    `json:"zones"`
	VMs          []vm      `json:"vms"`
	Processes    []process `json:"processes"`
	Unattributed []reason  `json:"unattributed"`
}

// A meter is mean power over the span, and energy since the state's first tick.
type meter struct {
	PowerWatts   float64 `json:"power_watts"`
	EnergyJoules float64 `json:"energy_joules"`
}

type zone struct {
	Zone    string `json:"zone"`
	Package int    `json:"package"` // -1: all
	Path    string `json:"path"`
	Split   string `json:"split"` // what divides it among consumers: cpu, nothing
	meter
}

type vm struct {
	UUID  string `json:"uuid"`
	Name  string `json:"name"`
	State string `json:"state"`
	VCPUs int    `json:"vcpus"`
	meter
	ActiveJoules float64 `json:"active_joules"`
	IdleJoules   float64 `json:"idle_joules"`
	CPUSeconds   float64 `json:"cpu_seconds"`
}

type process struct {
	PID        int32   `json:"pid"`
	Comm       string  `json:"comm"`
	Exe        string  `json:"exe"` // "" where unknown
	PowerWatts float64 `json:"power_watts"`
}

type reason struct {
	Reason     string  `json:"reason"`
	PowerWatts float64 `json:"power_watts"`
}

// asLine makes a line of a View, with so many processes.
func asLine(v snapshot.View, top int, match *regexp.Regexp) ([]byte, error) {
	l := line{
		Time: v.Time.UTC(), SpanSeconds: v.Span.Seconds(), Source: v.Host.Source, Simulated: v.Simulated,
		Host:  meter{watts(v.HostPower), v.Host.Energy.Joules()},
		Zones: []zone{}, VMs: []vm{}, Processes: []process{}, Unattributed: []reason{},
	}
	for i := range v.Zones {
		z := &v.Zones[i]
		l.Zones = append(l.Zones, zone{
			z.Kind.String(), z.Package, series.LabelValue(z.Path), z.Split.String(), meter{watts(v.ZonePower[i]), z.Total.Joules()},
		})
	}
	for i := range v.VMs {
		m := &v.VMs[i]
		l.VMs = append(l.VMs, vm{
			UUID: series.LabelValue(m.UUID), Name: series.LabelValue(m.Name), State: m.State, VCPUs: m.VCPUs,
			meter:        meter{watts(m.Power), m.Energy.Joules()},
			ActiveJoules: m.ByPart[snapshot.Active].Joules(), IdleJoules: m.ByPart[snapshot.Idle].Joules(),
			CPUSeconds: m.CPU.Seconds(),
		})
	}
	v.Consumers = slices.DeleteFunc(slices.Clone(v.Consumers), func(c snapshot.Consumer) bool { return c.VM })
	for _, c := range consumers(v, top, match) {
		l.Processes = append(l.Processes, process{c.PID, series.LabelValue(c.Comm), series.LabelValue(c.Exe), watts(c.Power)})
	}
	for _, u := range v.Unattributed {
		l.Unattributed = append(l.Unattributed, reason{u.Reason, watts(u.Power)})
	}
	return json.Marshal(l)
}

// consumers returns the first that match, at most so many.
func consumers(v snapshot.View, top int, match *regexp.Regexp) (list []snapshot.Consumer) {
	for _, c := range v.Consumers {
		if len(list) == top {
			break
		}
		if match.MatchString(c.Comm) || match.MatchString(c.Exe) {
			list = append(list, c)
		}
	}
	return list
}

// watts is a power for JSON, which has neither NaN nor infinity.
func watts(w energy.Watts) float64 {
	if f := float64(w); !math.IsNaN(f) && !math.IsInf(f, 0) {
		return f
	}
	return 0
}

func microwatts(w energy.Watts) float64 { return math.Round(watts(w) * 1e6) }
