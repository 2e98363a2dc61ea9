// Oracle is a meter of the most straightforward kind, to show that a meter can satisfy the judge. It shares no code with the
// product, reads the same machine (oracle DIR, with DIR/proc and DIR/sys), works in floating point, and exports metrics of
// the same names. It knows only what the simulated machine has: no kernel threads, no helpers, no wrap guard, no state.
package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// interval is as short as the product's shortest.
const interval = 100 * time.Millisecond

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: oracle DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var text string
	failed := make(chan error, 1)
	go func() {
		o := newOracle(dir)
		for range time.Tick(interval) {
			if err := o.tick(); err != nil {
				failed <- err
				return
			}
			mu.Lock()
			text = o.text()
			mu.Unlock()
		}
	}()
	go func() {
		failed <- http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprint(w, text)
		}))
	}()
	slog.New(slog.NewJSONHandler(os.Stderr, nil)).Info("serving HTTP", "address", listener.Addr().String())
	return <-failed
}
