package vfs

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// TestStateIsWhole reads states while others are published in their memory, with VMs that come and go: each is of one
// publish. With -race it also shows that nobody reads what is being written.
func TestStateIsWhole(t *testing.T) {
	tree := NewTree("test", 0)
	all := testVMs(20)
	publish(t, tree, update(testTime, 1, all...))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				st := tree.read()
				for i := range st.vms {
					if st.vms[i].now != st.vms[0].now || len(st.vms) != len(st.names.slots) {
						t.Errorf("VM %d of %d: %+v beside %+v", i, len(st.vms), st.vms[i].now, st.vms[0].now)
						st.release()
						return
					}
				}
				st.release()
			}
		})
	}
	for i := range 5000 {
		vms := all
		if i%10 == 0 {
			vms = all[:1+i%len(all)]
		}
		publish(t, tree, update(testTime.Add(time.Duration(i)), energy.Microjoules(i), append([]VM(nil), vms...)...))
	}
	close(stop)
	readers.Wait()
}

// TestPublishLeavesNoGarbage allocates nothing for each VM in the steady state.
func TestPublishLeavesNoGarbage(t *testing.T) {
	for _, n := range []int{5, 500} {
		p := NewPublisher(func() float64 { return 0 })
		if err := p.Keep(shm(t)); err != nil {
			t.Fatal(err)
		}
		tree := NewTree("test", 0)
		readings := make([]Reading, n)
		for i, vm := range testVMs(n) {
			readings[i] = reading(profile(t, "trusted"), 0)
			readings[i].UUID, readings[i].Name = vm.UUID, vm.Name
		}
		now := testTime
		round := func() {
			now = now.Add(time.Second)
			for i := range readings {
				readings[i].Energy[energy.Package] += 1234567
			}
			vms, _ := p.Publish(now, readings)
			if err := p.Remember(); err != nil {
				t.Fatal(err)
			}
			publish(t, tree, Update{At: now, VMs: vms})
		}
		for range 3 { // the first ones make room
			round()
		}
		const rounds = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			round()
		}
		runtime.ReadMemStats(&after)
		if bytes := (after.TotalAlloc - before.TotalAlloc) / rounds; bytes > 1024 {
			t.Errorf("%d VMs: %d bytes of garbage for each publish", n, bytes)
		}
		if err := p.memory.close(); err != nil {
			t.Error(err)
		}
	}
}
