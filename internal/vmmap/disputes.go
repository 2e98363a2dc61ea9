package vmmap

import (
	"log/slog"
	"time"

	"github.com/scaph/scaph/internal/proc"
)

// maxLogged is how many conflicts are logged one by one within logWindow: one user must not fill
// the log.
const (
	maxLogged = 20
	logWindow = time.Minute
)

// disputes tells conflicts: each is counted once for as long as it lasts, and logged.
type disputes struct {
	log    *slog.Logger
	known  map[disputeKey]bool // of the last look
	window time.Time           // when the window began
	logged int                 // in the window
}

type disputeKey struct {
	proc.ID
	uuid, vm, why string
}

func newDisputes(log *slog.Logger) disputes { return disputes{log: log, known: map[disputeKey]bool{}} }

// settle takes over the conflicts that there are now, and returns how many of them are new.
func (d *disputes) settle(conflicts []conflict, now time.Time) (fresh uint64) {
	if now.Sub(d.window) >= logWindow {
		d.window, d.logged = now, 0
	}
	known := make(map[disputeKey]bool, len(conflicts))
	for _, c := range conflicts {
		key := disputeKey{c.ID, c.uuid, c.vm, c.why}
		if known[key] {
			continue
		}
		known[key] = true
		if d.known[key] {
			continue
		}
		fresh++
		d.logged++
		switch {
		case d.logged == maxLogged+1:
			d.log.Warn("more claims to VMs were refused; they are counted, not logged", "metric", "scaph_vm_conflicts_total")
		case d.logged > maxLogged:
		case c.vm == "":
			d.log.Warn("a process claims to be a VM that it is not; it counts as an ordinary process",
				"pid", c.PID, "uid", c.uid, "uuid", c.uuid, "reason", c.why, "hint", c.hint)
		default:
			d.log.Warn("two VMs claim one identity; this one is told apart",
				"pid", c.PID, "uuid", c.uuid, "vm", c.vm, "reason", c.why, "hint", c.hint)
		}
	}
	d.known = known
	return fresh
}
