// Accuracy is a closed loop around the built programs: a simulated machine whose energy is known, the program, and a
// judge who sees the truth and the exported counters only. See README.md.
//
//	go run ./test/accuracy            ten seeds, everything
//	go run ./test/accuracy -short     one seed
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	seeds := flag.Int("seeds", 10, "number of seeds, from 1 on")
	short := flag.Bool("short", false, "one seed and shorter runs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := all(ctx, os.Stdout, *seeds, *short); err != nil {
		fmt.Fprintln(os.Stderr, "accuracy:", err)
		os.Exit(1)
	}
}
