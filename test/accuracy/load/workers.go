package main

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// workers are threads that work for a part of each period, or rest.
type workers struct {
	duty float64
	tids []int

	mu      sync.Mutex // over what follows
	wake    *sync.Cond // works or resting has changed
	works   bool
	resting int // threads
}

// period is the time in which a duty is done: short beside any tick of a meter.
const period = 10 * time.Millisecond

func newWorkers(threads, duty float64) *workers {
	w := &workers{duty: duty}
	w.wake = sync.NewCond(&w.mu)
	tids := make(chan int)
	for range int(threads) {
		go w.run(tids)
		w.tids = append(w.tids, <-tids)
	}
	return w
}

func (w *workers) run(tid chan<- int) {
	runtime.LockOSThread()
	tid <- unix.Gettid()
	for {
		w.await()
		began, used := time.Now(), threadTime(0)
		for threadTime(0)-used < time.Duration(w.duty*float64(period)) {
		}
		time.Sleep(period - time.Since(began)) //nolint:forbidigo // to sleep is what it is to do
	}
}

// await rests as long as nobody works.
func (w *workers) await() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.works {
		return
	}
	w.resting++
	w.wake.Broadcast()
	for !w.works {
		w.wake.Wait()
	}
	w.resting--
}

func (w *workers) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.works = true
	w.wake.Broadcast()
}

// rest stops the work and waits until nobody works any more.
func (w *workers) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.works = false
	for w.resting < len(w.tids) {
		w.wake.Wait()
	}
}

func (w *workers) clocks() []float64 {
	times := make([]float64, len(w.tids))
	for i, tid := range w.tids {
		times[i] = threadTime(tid).Seconds()
	}
	return times
}

// threadTime is the CPU time of a thread of this process, 0 for the calling one. The clock's id is made as
// pthread_getcpuclockid(3) makes it.
func threadTime(tid int) time.Duration {
	if tid == 0 {
		return clock(unix.CLOCK_THREAD_CPUTIME_ID)
	}
	const perThread, scheduled = 4, 2
	return clock(int32(^tid<<3 | perThread | scheduled))
}

func processTime() time.Duration { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

func clock(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic(err) // the thread is ours and lives
	}
	return time.Duration(ts.Nano())
}
