package meter

import (
	"fmt"
	"testing"
	"time"

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
