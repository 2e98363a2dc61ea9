// Package flood asks of a directory tree all that one reader can.
//
// The same code runs on the host (called by the judge) and in the guests (called by the probe).
package flood

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Report says how much of each was done.
type Report struct {
	Opens    int           `json:"opens"` // descriptors that were held at the end
	Reads    int64         `json:"reads"`
	Listings int64         `json:"listings"`
	Failures int64         `json:"failures"`
	Took     time.Duration `json:"took"`
}

func (r Report) String() string {
	return fmt.Sprintf("%d descriptors held, %d reads, %d listings, %d failures, %.0f/s in all",
		r.Opens, r.Reads, r.Listings, r.Failures, r.Rate())
}

// Rate is how much was done a second, of all kinds together.
func (r Report) Rate() float64 {
	return float64(int64(r.Opens)+r.Reads+r.Listings) / r.Took.Seconds()
}

// Run opens a file of a directory until it holds so many descriptors, while two more threads read the file and list
// the directory as fast as they can, until ctx ends.
func Run(ctx context.Context, dir, file string, opens int) (Report, error) {
	if err := makeRoom(uint64(opens) + 1000); err != nil { // some for the rest of the process
		return Report{}, fmt.Errorf("room for %d descriptors: %w", opens, err)
	}
	begin := time.Now()
	var reads, listings, failures atomic.Int64
	repeat := func(done *atomic.Int64, what func() error) {
		for ctx.Err() == nil {
			if err := what(); err != nil {
				failures.Add(1)
			} else {
				done.Add(1)
			}
		}
	}
	path := filepath.Join(dir, file)
	var threads sync.WaitGroup
	threads.Go(func() { repeat(&reads, func() error { _, err := os.ReadFile(path); return err }) })
	threads.Go(func() { repeat(&listings, func() error { _, err := os.ReadDir(dir); return err }) })
	var held []int
	for len(held) < opens && ctx.Err() == nil {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			failures.Add(1)
			continue
		}
		held = append(held, fd)
	}
	threads.Wait()
	took := time.Since(begin)
	for _, fd := range held {
		_ = unix.Close(fd)
	}
	return Report{
		Opens: len(held), Reads: reads.Load(), Listings: listings.Load(), Failures: failures.Load(), Took: took,
	}, nil
}

func makeRoom(descriptors uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil || now.Cur >= descriptors {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: descriptors, Max: max(now.Max, descriptors)})
}
