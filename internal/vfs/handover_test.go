package vfs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/fdstore"
)

// TestGuestsNeverNoticeRestart kills the service with SIGKILL at random moments under eight readers, with
// requests in flight, and starts it again, which takes the mount over from the descriptor store; at last it
// upgrades by SIGTERM.
func TestGuestsNeverNoticeRestart(t *testing.T) {
	store := fdstore.Start(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "tree")
	epoch := time.Now()
	c := startChild(t, store, path, epoch)
	if c.first != "serving, resumed=false" {
		t.Fatalf("first start: %q", c.first)
	}
	t.Cleanup(func() {
		if _, err := Unmount(options(t, path)); err != nil {
			t.Error(err)
		}
	})
	dir := inodeOf(t, filepath.Join(path, "vm1"))
	held, err := unix.Open(filepath.Join(path, "vm1"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(held)

	r := startReaders(t, path, 8)
	kills := 20
	if testing.Short() {
		kills = 3
	}
	for i := range kills + 3 {
		target := r.count() + 20 + rand.IntN(80)
		poll(t, "reads since the last start", func() bool { return r.count() >= target })
		if i < kills {
			c.end(t, unix.SIGKILL)
		} else {
			c.end(t, unix.SIGTERM)
		}
		// Now and then one is killed while it is still starting, at any moment of it.
		for range i % 3 {
			starting := launchChild(t, store, path, epoch)
			timer := time.NewTimer(time.Duration(rand.IntN(int(15 * time.Millisecond))))
			<-timer.C
			starting.end(t, unix.SIGKILL)
		}
		c = startChild(t, store, path, epoch)
		if c.first != "serving, resumed=true" {
			t.Fatalf("start %d: %q", i, c.first)
		}
		// A directory held since the beginning, by virtiofsd say, still is what it was.
		fd, err := unix.Openat(held, "scaph/uuid", unix.O_RDONLY, 0)
		if err != nil {
			t.Fatalf("below a held directory: %v", err)
		}
		unix.Close(fd)
	}
	r.finish(t)
	if len(r.failures) > 0 {
		t.Errorf("failed reads, the first: %v", r.failures[0])
	}
	if now := inodeOf(t, filepath.Join(path, "vm1")); now != dir {
		t.Errorf("inode %d became %d", dir, now)
	}
	if n := len(store.Names()); n != 2 {
		t.Errorf("%d descriptors in the store, want 2", n)
	}
	c.end(t, unix.SIGTERM)
}

// TestKillWithoutStore shows what the store is for: the same without one breaks those who hold the tree.
func TestKillWithoutStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tree")
	epoch := time.Now()
	c := startChild(t, nil, path, epoch)
	held, err := unix.Open(filepath.Join(path, "vm1/intel-rapl:0/energy_uj"), unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(held)
	c.end(t, unix.SIGKILL)
	if _, err := unix.Pread(held, make([]byte, 20), 0); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("held file: %v, want ENOTCONN", err)
	}
	if err := unix.Stat(path, new(unix.Stat_t)); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("stale mount: %v, want ENOTCONN", err)
	}

	// The next start clears the stale mount away; who held the old one has lost it for good.
	c = startChild(t, nil, path, epoch)
	if c.first != "serving, resumed=false" {
		t.Fatalf("start over a stale mount: %q", c.first)
	}
	if _, err := readValue(filepath.Join(path, "vm1/intel-rapl:0/energy_uj"), -1, make([]byte, 20)); err != nil {
		t.Error(err)
	}
	if _, err := unix.Pread(held, make([]byte, 20), 0); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("held file after the restart: %v, want ENOTCONN", err)
	}
	c.end(t, unix.SIGTERM)
	if mounted("/proc", path) {
		t.Error("still mounted after SIGTERM, though nobody could take it over")
	}
}

// TestRequestInFlight has a process die with a request that it took and did not answer: the next one answers it.
func TestRequestInFlight(t *testing.T) {
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 7, testVMs(1)...))
	path := filepath.Join(t.TempDir(), "tree")
	s, err := Mount(tree, options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := readValue(filepath.Join(path, "vm0/intel-rapl:0/energy_uj"), -1, make([]byte, 20))
		read <- err
	}()
	if err := s.device.wait(askedWithin); err != nil {
		t.Fatal(err)
	}
	if _, err := s.device.take(make([]byte, requestMax)); err != nil {
		t.Fatal(err)
	}
	next, err := Resume(tree, Handover{Device: dup(t, s.device.file), State: s.Handover().State}, options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	serveUntilCleanup(t, next)
	select {
	case err := <-read:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("a request that the earlier process took was never answered (before Linux 6.9 it cannot be)")
	}
	if tree.Resumes() != 1 {
		t.Errorf("%d resumes counted, want 1", tree.Resumes())
	}
}

// TestResumeWaitsForTheFirstPublish takes a mount over before anything was measured: who holds it waits, and is
// not told that all VMs are gone.
func TestResumeWaitsForTheFirstPublish(t *testing.T) {
	first := NewTree("test", 0)
	publish(t, first, update(testTime, 7, testVMs(1)...))
	path := filepath.Join(t.TempDir(), "tree")
	s, err := Mount(first, options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	held, err := unix.Open(filepath.Join(path, "vm0/intel-rapl:0/energy_uj"), unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(held)
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}

	second := NewTree("test", 0)
	next, err := Resume(second, Handover{Device: dup(t, s.device.file), State: s.Handover().State}, options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	serving, stop := context.WithCancel(t.Context())
	go func() { served <- next.Serve(serving) }()
	read := make(chan string)
	go func() {
		buf := make([]byte, 20)
		n, err := unix.Pread(held, buf, 0)
		read <- fmt.Sprintf("%q, %v", buf[:max(n, 0)], err)
	}()
	select {
	case got := <-read:
		t.Errorf("answered before anything was published: %s", got)
	case <-time.After(100 * time.Millisecond):
		publish(t, second, update(testTime, 8, testVMs(1)...))
		if got := <-read; got != `"8\n", <nil>` {
			t.Error(got)
		}
	}
	stop()
	if err := errors.Join(<-served, next.Unmount()); err != nil {
		t.Error(err)
	}
}

// TestMovedTree starts with another mount point than the process before: the old mount does not stay behind.
func TestMovedTree(t *testing.T) {
	store := fdstore.Start(t, t.TempDir())
	dir := t.TempDir()
	before, after := filepath.Join(dir, "before"), filepath.Join(dir, "after")
	startChild(t, store, before, testTime).end(t, unix.SIGTERM)
	c := startChild(t, store, after, testTime)
	if c.first != "serving, resumed=false" {
		t.Errorf("%q", c.first)
	}
	if mounted("/proc", before) || !mounted("/proc", after) {
		t.Errorf("mounted at the old place: %v, at the new one: %v", mounted("/proc", before), mounted("/proc", after))
	}
	c.end(t, unix.SIGTERM)
	if n, err := Unmount(options(t, after)); n != 1 || err != nil {
		t.Errorf("unmounted %d, %v", n, err)
	}
}

// TestStoreEmptied has the manager lose the descriptors between two runs.
func TestStoreEmptied(t *testing.T) {
	store := fdstore.Start(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "tree")
	c := startChild(t, store, path, time.Now())
	c.end(t, unix.SIGKILL)
	store.Clear()
	c = startChild(t, store, path, time.Now())
	if c.first != "serving, resumed=false" {
		t.Fatalf("%q", c.first)
	}
	if n := len(store.Names()); n != 2 {
		t.Errorf("%d descriptors in the store, want 2", n)
	}
	c.end(t, unix.SIGTERM)
	if n, err := Unmount(options(t, path)); n != 1 || err != nil {
		t.Errorf("unmounted %d, %v", n, err)
	}
}

// TestStopAndContinue stops the service for a while: readers wait, none fails.
func TestStopAndContinue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tree")
	c := startChild(t, nil, path, time.Now())
	r := startReaders(t, path, 4)
	if err := c.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	pause := time.NewTimer(5 * time.Second)
	<-pause.C
	if err := c.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r.finish(t)
	if len(r.failures) > 0 {
		t.Error(r.failures[0])
	}
	if r.stall < 4*time.Second {
		t.Errorf("nobody waited: longest read %v", r.stall)
	}
	c.end(t, unix.SIGTERM)
}

// TestSingleProcessor serves with GOMAXPROCS=1.
func TestSingleProcessor(t *testing.T) {
	store := fdstore.Start(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "tree")
	epoch := time.Now()
	c := startChild(t, store, path, epoch, "GOMAXPROCS=1")
	r := startReaders(t, path, 8)
	poll(t, "reads", func() bool { return r.count() > 500 })
	c.end(t, unix.SIGKILL)
	c = startChild(t, store, path, epoch, "GOMAXPROCS=1")
	r.finish(t)
	if len(r.failures) > 0 {
		t.Error(r.failures[0])
	}
	c.end(t, unix.SIGTERM)
	if _, err := Unmount(options(t, path)); err != nil {
		t.Error(err)
	}
}

// TestUnfitMountThatCannotBeReplaced is an error that says both: the process is to end, and so let go of the mount.
func TestUnfitMountThatCannotBeReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tree")
	old, err := Mount(NewTree("test", 0), options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := old.Unmount(); err != nil {
			t.Error(err)
		}
	})
	fd, err := duplicate(old.Handover().Device)
	if err != nil {
		t.Fatal(err)
	}
	state, err := os.CreateTemp(t.TempDir(), "state")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.WriteString(`{"abi": 999}`); err != nil {
		t.Fatal(err)
	}
	st := &Store{handed: map[string]*os.File{storedDevice: os.NewFile(uintptr(fd), fuseDevice), storedState: state}}
	// Still held, by this test: it cannot be replaced now.
	if _, err := Start(NewTree("test", 0), options(t, path), st); !errors.Is(err, ErrIncompatible) || !errors.Is(err, ErrHeld) {
		t.Errorf("%v, want ErrIncompatible and ErrHeld", err)
	}
}
