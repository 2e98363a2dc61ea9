package cputime

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/prometheus/procfs"

	"github.com/scaph/scaph/internal/proc"
)

// startIdle starts processes that do nothing until the benchmark ends.
func startIdle(b *testing.B, n int) {
	b.Helper()
	for range n {
		sleeper := exec.Command("sleep", "infinity")
		if err := sleeper.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = sleeper.Process.Kill()
			_ = sleeper.Wait()
		})
	}
}

func BenchmarkProcfsSample(b *testing.B) {
	for _, idle := range []int{0, 1000} {
		b.Run(fmt.Sprintf("idle=%d", idle), func(b *testing.B) {
			startIdle(b, idle)
			p := openSource(b, proc.Kernel{}, "/proc", NewDomains("/sys", nil, nil))
			s := sample(b, p)
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Sample(s); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(s.Processes)), "ns/process")
		})
	}
}

// BenchmarkPlainScan is what BenchmarkProcfsSample is to be compared with: the usual library.
func BenchmarkPlainScan(b *testing.B) {
	for _, idle := range []int{0, 1000} {
		b.Run(fmt.Sprintf("idle=%d", idle), func(b *testing.B) {
			startIdle(b, idle)
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
		})
	}
}
