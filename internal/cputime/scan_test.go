package cputime_test

import (
	"testing"

	"github.com/prometheus/procfs"
)

// BenchmarkPlainScan is what BenchmarkProcfsSample is to be compared with: the usual library.
func BenchmarkPlainScan(b *testing.B) {
	fs, err := procfs.NewFS("/proc")
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		processes, err := fs.AllProcs()
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range processes {
			if _, err := p.Stat(); err != nil {
				continue // it ended
			}
			n++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/process")
}
