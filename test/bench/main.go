// Bench measures what the programs cost, on this machine, with processes that really exist, and sets it against the
// budgets and against a plain scan of the same processes. See README.md.
//
//	go run ./test/bench
//
// It takes root, a C compiler, and bin/scaph-host and bin/scaph-guest.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// deadline bounds a run: where the machine is so busy that it takes longer, the figures are of no use.
const deadline = 10 * time.Minute

var errBroken = errors.New("a bound is broken")

func main() {
	runtime.LockOSThread() // see startProduct
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	if err := bench(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench prints the results of the Go benchmarks, which benchstat reads, and the table.
func bench(ctx context.Context) error {
	began := time.Now()
	results, err := runGoBench(ctx, os.Stdout)
	if err != nil {
		return err
	}
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	m, err := l.measure(ctx)
	if err = errors.Join(err, l.close()); err != nil {
		return err
	}
	fromGo, err := results.rows()
	if err != nil {
		return err
	}
	load, err := os.ReadFile("/proc/loadavg") // proc_loadavg(5)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d processes, then %d, and %d virtual machines where nothing else is said; %d CPUs, load %s; %.0f s\n\n",
		m.few.processes, m.many.processes, machinesFew, runtime.NumCPU(), bytes.TrimSpace(load), time.Since(began).Seconds())
	if !write(os.Stdout, append(m.rows(), fromGo...)) {
		return errBroken
	}
	return nil
}
