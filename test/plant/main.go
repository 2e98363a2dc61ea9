// Plant is a machine's RAPL, simulated: a powercap tree whose counters rise with the time and
// with the CPU load of the machine that it runs on, by a power law of its own, and wrap.
//
// It shares no code with the product. Each read computes a fresh value, as hardware does, so the
// tree is a small FUSE file system rather than files that somebody rewrites.
//
//	plant -mount DIR -listen 127.0.0.1:PORT
//
//	GET  /truth    what each counter has counted since the start, unwrapped (see Truth)
//	POST /freeze   hold all counters where they are, so that a judge can compare exactly
//	POST /resume   let them go on
//
// It starts frozen with -frozen. SIGTERM or SIGINT unmounts and ends it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	mount := flag.String("mount", "", "directory to mount the powercap tree on")
	listen := flag.String("listen", "127.0.0.1:0", "address of the control server")
	packages := flag.Int("packages", 1, "number of CPU packages")
	lead := flag.Float64("lead", 20, "energy in J from which each counter starts below its wrap")
	seed := flag.Uint64("seed", 1, "seed of the noise")
	frozen := flag.Bool("frozen", false, "start frozen")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *mount, *listen, newPlant(*packages, *lead, *seed, *frozen)); err != nil {
		slog.Error("plant ends", "error", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It prints the control server's address when the tree is mounted.
func run(ctx context.Context, dir, listen string, p *plant) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("control server: %w", err)
	}
	if _, err := mountTree(dir, p); err != nil {
		_ = listener.Close()
		return fmt.Errorf("mount on %s (needs root and /dev/fuse): %w", dir, err)
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: control(p), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	<-ctx.Done()
	_ = server.Close()
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		slog.Warn("control server", "error", err)
	}
	// Lazily, and without waiting for the last request: a copy of the mount may live on in another
	// mount namespace (every qemu that libvirt starts has one). It dies with this process.
	return unix.Unmount(dir, unix.MNT_DETACH)
}
