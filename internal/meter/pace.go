package meter

import "time"

// A pace knows how often a counter moves. Hardware's moves at every tick; the one of a guest once per publish interval
// of its host, which may be many ticks, and not always the same number.
type pace struct {
	moves  int           // that were seen, up to enoughMoves
	usual  time.Duration // the longest span between two moves, of late
	frozen bool          // it is overdue
}

const (
	// enoughMoves is how many moves tell the usual span: the first one began before the first reading.
	enoughMoves = 3
	// unknownPace is how long a counter of which this is not known yet may stand still.
	unknownPace = 30 * time.Second
)

// moved notes a move. A span that is in doubt, or in which the zone was not watched, tells nothing. It reports
// whether the counter was frozen.
func (p *pace) moved(span time.Duration, sure bool) (thawed bool) {
	thawed, p.frozen = p.frozen, false
	if !sure || thawed {
		return thawed
	}
	if p.moves = min(p.moves+1, enoughMoves); p.moves > 1 {
		p.usual = max(span, p.usual-p.usual/8)
	}
	return thawed
}

// overdue reports whether a counter that has stood still for so long does so for clearly longer than it usually does.
func (p *pace) overdue(still, interval time.Duration) bool {
	if p.moves < enoughMoves {
		return still > max(unknownPace, 3*interval)
	}
	return still > 3*max(p.usual, interval)
}
