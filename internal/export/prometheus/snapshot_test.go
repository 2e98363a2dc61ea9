package prometheus

import (
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/snapshot/snapshottest"
)

// fixed is a Source that always has the same Snapshot.
type fixed struct{ *snapshot.Snapshot }

func (f fixed) Latest() *snapshot.Snapshot { return f.Snapshot }

// counters are TreeCounters that never move.
type counters struct{}

func (counters) Reads() uint64   { return 42 }
func (counters) Resumes() uint64 { return 3 }
func (counters) Panics() uint64  { return 1 }

func host(n int) *snapshot.Snapshot { return snapshottest.Host(n) }
