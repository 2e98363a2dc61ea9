package demo

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/snapshot"
)

// ticks gives so many Snapshots, and then none.
type ticks int

func (n ticks) Next(_ context.Context, after uint64) *snapshot.Snapshot {
	if after >= uint64(n) {
		return nil
	}
	return &snapshot.Snapshot{Seq: after + 1, Time: time.Unix(int64(after), 0), Host: snapshot.Host{Source: "estimate"}}
}

// The table has a round for each Snapshot but the first, with the guest's line, and no cursor movement where no terminal is.
func TestTable(t *testing.T) {
	for n, want := range map[ticks]int{0: 0, 1: 0, 4: 3} {
		var out bytes.Buffer
		g := &guest{missing: "no FUSE"}
		if err := table(t.Context(), &out, n, g); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), "Guest: no tree here, so nothing to read for it: no FUSE\n"); got != want || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%d Snapshots: %d rounds, want %d:\n%q", n, got, want, &out)
		}
	}
}

func TestGuestLine(t *testing.T) {
	g := &guest{dir: "/tree/web"}
	if got := g.line(); got != "waiting for its first reading" {
		t.Error(got)
	}
	g.last = "42"
	if got := g.line(); got != `"web" reads 42 µJ from /tree/web/intel-rapl:0/energy_uj` {
		t.Error(got)
	}
}
