package main

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// period is one turn of busy and idle. It is short beside any metering interval, so that
// every interval sees the same load.
const period = 100 * time.Millisecond

// burner keeps one thread busy for a set part of the time.
type burner struct {
	percent atomic.Int32
	sink    atomic.Uint64 // keeps the compiler from leaving the computation out
	stop    chan struct{}
	done    chan struct{}
}

func newBurner() *burner {
	b := &burner{stop: make(chan struct{}), done: make(chan struct{})}
	go b.run()
	return b
}

func (b *burner) close() {
	close(b.stop)
	<-b.done
}

func (b *burner) run() {
	defer close(b.done)
	turn := time.NewTicker(period)
	defer turn.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-turn.C:
			b.spin(period * time.Duration(b.percent.Load()) / 100)
		}
	}
}

// spin computes for d.
func (b *burner) spin(d time.Duration) {
	x := uint64(1)
	for start := time.Now(); time.Since(start) < d; {
		for range 1000 {
			x = x*6364136223846793005 + 1442695040888963407
		}
	}
	b.sink.Store(x)
}

func (b *burner) handle(w http.ResponseWriter, r *http.Request) {
	percent, err := strconv.Atoi(r.URL.Query().Get("percent"))
	if err != nil || percent < 0 || percent > 100 {
		http.Error(w, "percent must be 0 to 100", http.StatusBadRequest)
		return
	}
	b.percent.Store(int32(percent))
	answer(w, percent)
}
