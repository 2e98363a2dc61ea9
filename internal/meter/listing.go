package meter

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
)

// Which processes have a series of their own, and when it begins and ends.
//
// Whoever reads counters now and then and adds up by how much they grew (Prometheus' increase) must get
// what the zones grew by. So what one series has shown is never shown again by another one:
//
//   - A process that is listed is exposed at 0 first. What it uses goes on being part of the rest, until
//     everybody who scrapes at least every ScrapeInterval has seen the 0; from then on it counts in a row of
//     its own. One that ends before that never leaves the rest.
//   - A series whose process ended, or gave up its place, is exposed unchanged until everybody has seen its
//     last value. Then its row is retired: it is part of no counter any more, only of a gauge.
//
// A label belongs to one series. A process that is listed under a label that is still exposed (it came back
// to the list, or has the process id and name of one that ended) goes on with that series.

// A label is how a process is shown.
type label struct {
	pid       int32
	comm, exe string
}

func compareLabels(a, b label) int {
	return cmp.Or(cmp.Compare(a.pid, b.pid), cmp.Compare(a.comm, b.comm), cmp.Compare(a.exe, b.exe))
}

// A series is what is shown of a process.
type series struct {
	label
	comm    string   // of the process, as it was when it was listed
	process *process // nil: it has ended, or given up its place
	created time.Time

	counts   bool               // it has a row of its own; until then it shows 0
	slot     ledger.Slot        // of that row
	since    time.Duration      // on Meter.exposed: when it was first exposed, or when it last moved
	held     energy.Microjoules // since then
	ceilings []ceiling
}

// A listed process gives up its place only to one that uses clearly more, so that series do not flap, and use long
// ago counts less: half after every scoreHalfLife.
const (
	scoreHalfLife = 2 * time.Minute
	scoreMargin   = 1.5
)

func decayed(score float64, age time.Duration) float64 {
	return score * math.Exp2(-age.Seconds()/scoreHalfLife.Seconds())
}

// rank orders processes by their scores as they will be at any one later time: all decay alike.
func (a *process) rank() float64 {
	return math.Log2(a.score) + a.scoreAt.Seconds()/scoreHalfLife.Seconds()
}

func byRank(a, b *process) int { return cmp.Compare(a.rank(), b.rank()) }

// expose counts for how long the last Snapshot could be seen. Time in which nobody may have been able to
// look (a suspend, a restart, a tick that was not published) does not count.
func (m *Meter) expose(now time.Duration) {
	if m.published {
		m.exposed += min(now-m.tickedAt, 2*m.Interval)
	}
	m.tickedAt = now
}

// seenAt0 is how long a series is exposed at 0. One interval more than the scrapers' covers that
// Snapshots and scrapes are not to the millisecond on time.
func (m *Meter) seenAt0() time.Duration { return m.ScrapeInterval + m.Interval }

// startSeries lets series count that have been seen at 0, and joins processes with the rows of their series.
// It is called between settlements, so that no Snapshot shows a process without its last gain.
func (m *Meter) startSeries() {
	for _, a := range m.listed {
		s := a.series
		if !s.counts && m.exposed-s.since >= m.seenAt0() {
			s.counts, s.since = true, m.exposed
			s.slot = m.ledger.Open()
			s.ceilings = m.newCeilings()
		}
		if s.counts && a.slot != s.slot {
			m.ledger.Close(a.slot, ledger.Ended)
			a.slot = s.slot
		}
	}
}

// counted says whether what the process uses counts in its series, not in the rest.
func (a *process) counted() bool {
	return a.series != nil && a.series.counts && a.slot == a.series.slot
}

// list chooses which processes have a series, among those listed and those that ran in this tick.
func (m *Meter) list(now time.Duration) {
	limit := max(0, m.Listed)
	m.relist()
	m.candidates = m.candidates[:0]
	threshold := math.Inf(-1)
	if limit > 0 && len(m.listed) >= limit {
		threshold = slices.MinFunc(m.listed, byRank).rank() + math.Log2(scoreMargin)
	}
	for _, a := range m.accounts {
		if limit > 0 && a.series == nil && a.scoreAt == now && a.score > 0 && a.rank() > threshold {
			m.candidates = append(m.candidates, a)
		}
	}
	if len(m.candidates) == 0 && len(m.listed) <= limit {
		return
	}
	slices.SortFunc(m.candidates, func(a, b *process) int { return byRank(b, a) })
	weakest := slices.SortedFunc(slices.Values(m.listed), byRank)
	for len(m.listed) > limit { // an earlier run had more
		m.unlist(weakest[0])
		weakest = weakest[1:]
	}
	for _, a := range m.candidates {
		if len(m.listed) >= limit {
			if len(weakest) == 0 || a.rank() <= weakest[0].rank()+math.Log2(scoreMargin) {
				break
			}
			m.unlist(weakest[0])
			weakest = weakest[1:]
		}
		m.enlist(a)
	}
	clear(m.candidates)
}

// relist gives a process that has another name now (it has executed another program) a new series: the old
// one shows the energy of another name.
func (m *Meter) relist() {
	for i := 0; i < len(m.listed); i++ {
		a := m.listed[i]
		if a.comm == a.series.comm {
			continue
		}
		if m.shown(a.comm) == a.series.label.comm {
			a.series.comm = a.comm
			continue
		}
		m.unlist(a) // the last one takes its place
		m.enlist(a) // and is the last one now: it is looked at again, and has its name
		i--
	}
}

// enlist gives a process a place on the list.
func (m *Meter) enlist(a *process) {
	l := label{pid: a.id.PID, comm: m.shown(a.comm)}
	if !a.kernel && m.Exe != nil {
		l.exe = m.shown(m.Exe(a.id.PID))
	}
	at, found := m.findSeries(l)
	switch {
	case !found:
		m.series = slices.Insert(m.series, at, &series{label: l, created: m.Clock.Now(), since: m.exposed})
	case m.series[at].process != nil:
		return // its namesake has not been found to have ended yet
	}
	s := m.series[at]
	s.process, s.comm = a, a.comm
	a.series, a.place = s, int32(len(m.listed))
	m.listed = append(m.listed, a)
}

// findSeries returns where the series of a label is, or would be.
func (m *Meter) findSeries(l label) (at int, found bool) {
	return slices.BinarySearchFunc(m.series, l, func(s *series, l label) int { return compareLabels(s.label, l) })
}

// unlist takes a process off the list. Its series stays for a while, unless it never counted.
func (m *Meter) unlist(a *process) {
	s := a.series
	if a.counted() {
		a.slot = m.ledger.Open()
	}
	a.series, s.process = nil, nil
	last := len(m.listed) - 1
	m.listed[a.place] = m.listed[last]
	m.listed[a.place].place = a.place
	m.listed[last] = nil
	m.listed = m.listed[:last]
	if !s.counts {
		at, _ := m.findSeries(s.label)
		m.series = slices.Delete(m.series, at, at+1)
	}
}

// retireSeries ends the series without a process whose last value everybody has seen. It comes after list, which may
// have found another process for one of them.
func (m *Meter) retireSeries() {
	m.series = slices.DeleteFunc(m.series, func(s *series) bool {
		if !s.counts {
			return false
		}
		e := m.energiesOf(s.slot)
		if held := m.inBasis(&e); held != s.held {
			s.held, s.since = held, m.exposed
		}
		if s.process != nil || m.exposed-s.since < 2*m.ScrapeInterval {
			return false
		}
		m.ledger.Close(s.slot, ledger.RetiredProcesses)
		return true
	})
}

// shown makes the text of a label of a name from outside.
func (m *Meter) shown(name string) string {
	if m.Shown == nil {
		return name
	}
	return m.Shown(name)
}
