// Probe is the judge's hand inside a guest: an HTTP server that runs commands, reads counters
// and makes load there. It serves whoever reaches it, so it belongs on the lab's loopback alone.
//
//	POST /exec?arg=cat&arg=FILE                          the command's exit status and output
//	POST /read?path=FILE&mode=open&rate=100&for=60s&range=µJ  a reads.Report
//	POST /write?dir=DIR&file=FILE&subdirectory=DIR       how each attempt of writes.Try was refused
//	POST /flood?dir=DIR&file=FILE&opens=10000&for=10s    a flood.Report
//	POST /load?percent=30                                keep one thread busy for 30 % of the time
//	GET  /clock                                          CPU time of the probe itself, ns
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/lab/flood"
	"github.com/scaph/scaph/test/lab/reads"
	"github.com/scaph/scaph/test/lab/writes"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address to serve on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, *listen); err != nil {
		slog.Error("probe ends", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, listen string) error {
	burner := newBurner()
	defer burner.close()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /exec", execute)
	mux.HandleFunc("POST /read", read)
	mux.HandleFunc("POST /write", write)
	mux.HandleFunc("POST /flood", inundate)
	mux.HandleFunc("POST /load", burner.handle)
	mux.HandleFunc("GET /clock", clock)
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		_ = server.Close()
	}()
	err := server.ListenAndServe()
	if errors.Is(err, http.ErrServerClosed) {
		<-done
		return nil
	}
	return err
}

// Executed is the answer to /exec.
type Executed struct {
	Code   int    `json:"code"`
	Stdout []byte `json:"stdout"`
	Stderr []byte `json:"stderr"`
}

func execute(w http.ResponseWriter, r *http.Request) {
	args := r.URL.Query()["arg"]
	if len(args) == 0 {
		http.Error(w, "no arg", http.StatusBadRequest)
		return
	}
	cmd := exec.CommandContext(r.Context(), args[0], args[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, Executed{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.Bytes(), Stderr: stderr.Bytes()})
}

func read(w http.ResponseWriter, r *http.Request) {
	plan, err := parsePlan(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	report, err := reads.Run(r.Context(), plan)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, report)
}

func parsePlan(r *http.Request) (reads.Plan, error) {
	q := r.URL.Query()
	rate, err := strconv.Atoi(q.Get("rate"))
	if err != nil {
		return reads.Plan{}, fmt.Errorf("rate: %w", err)
	}
	duration, err := time.ParseDuration(q.Get("for"))
	if err != nil {
		return reads.Plan{}, fmt.Errorf("for: %w", err)
	}
	counterRange, err := strconv.ParseUint(q.Get("range"), 10, 64)
	if err != nil {
		return reads.Plan{}, fmt.Errorf("range: %w", err)
	}
	return reads.Plan{Path: q.Get("path"), Mode: reads.Mode(q.Get("mode")), Rate: rate, For: duration, Range: counterRange}, nil
}

func write(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	report, err := writes.Try(q.Get("dir"), q.Get("file"), q.Get("subdirectory"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, report)
}

func inundate(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	opens, err := strconv.Atoi(q.Get("opens"))
	if err != nil {
		http.Error(w, fmt.Sprintf("opens: %v", err), http.StatusBadRequest)
		return
	}
	howLong, err := time.ParseDuration(q.Get("for"))
	if err != nil {
		http.Error(w, fmt.Sprintf("for: %v", err), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), howLong)
	defer cancel()
	report, err := flood.Run(ctx, q.Get("dir"), q.Get("file"), opens)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, report)
}

func clock(w http.ResponseWriter, _ *http.Request) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, ts.Nano())
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		slog.Warn("answer not sent", "error", err)
	}
}
