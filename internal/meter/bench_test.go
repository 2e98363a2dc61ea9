package meter

import (
	"fmt"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/vmmap"
)

// BenchmarkIdleVMs is what a tick costs the meter itself, on a host with so many VMs that idle.
func BenchmarkIdleVMs(b *testing.B) {
	for _, n := range []int{0, 50, 500} {
		b.Run(fmt.Sprintf("vms=%d", n), func(b *testing.B) {
			w := newWorld()
			var vms []vmmap.VM
			for i := range n {
				vm := aVM
				vm.UUID, vm.Name = fmt.Sprintf("aaaaaaaa-0000-0000-0000-%012d", i), fmt.Sprint("vm-", i)
				vm.Process = proc.ID{PID: int32(1000 + i), Start: 1}
				vms = append(vms, vm)
			}
			w.vms = vmmap.NewMap(vms, "")
			m := w.start(b)
			m.State, m.CPU = worldStore{w}, &still{n: 10}
			b.ReportAllocs()
			for b.Loop() {
				w.boot += time.Second
				w.wall = w.wall.Add(time.Second)
				w.counters[0] += 40_000_000
				m.Tick()
			}
		})
	}
}

// BenchmarkCrowd is what a tick costs the meter itself where very many processes run and have series: what they
// use changes their order from tick to tick, and all series count.
func BenchmarkCrowd(b *testing.B) {
	for _, n := range []struct{ run, listed int }{{1000, 50}, {20_000, 50}, {20_000, 10_000}} {
		b.Run(fmt.Sprintf("run=%d/listed=%d", n.run, n.listed), func(b *testing.B) {
			w := newWorld()
			o := w.options()
			o.CPU, o.Listed, o.State = &crowd{n: n.run}, n.listed, worldStore{w}
			m, err := New(o)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				w.boot += time.Second
				w.wall = w.wall.Add(time.Second)
				w.counters[0] += 40_000_000
				m.Tick()
			}
			if s := m.Latest(); len(s.Series) < n.listed || s.LedgerError != 0 {
				b.Errorf("%d series, ledger error %d", len(s.Series), s.LedgerError)
			}
		})
	}
}

// A crowd is a source of which all processes run, now some much and others little, now the other way around.
type crowd struct {
	still
	n, samples int
}

func (c *crowd) Sample(out *cputime.Sample) error {
	out.Reset(1)
	c.samples++
	for i := range c.n {
		p := out.Append(1)
		p.PID, p.Start, p.Comm = int32(i+1), 1, "x"
		p.Delta[0] = uint64(1 + (i*7919+c.samples*(c.n/3))%c.n*1000)
		p.Total = uint64(c.samples) * p.Delta[0]
		out.Busy[0] += p.Delta[0]
	}
	out.Capacity[0] = 2 * out.Busy[0]
	return nil
}
