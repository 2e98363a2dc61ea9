package vfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/test/rights"
)

// Set for a copy of the test binary that is to be a server process, killed and started again by the tests.
const (
	envMount = "SCAPH_TEST_MOUNT" // mount point
	envEpoch = "SCAPH_TEST_EPOCH" // ns since 1970 at which the counters stood at 0
)

func TestMain(m *testing.M) {
	if path := os.Getenv(envMount); path != "" {
		if err := serveAsChild(path); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveAsChild is a service: one tree with three VMs, whose counters move by 1 mJ per ms, until SIGTERM.
func serveAsChild(path string) error {
	var epoch int64
	if _, err := fmt.Sscan(os.Getenv(envEpoch), &epoch); err != nil {
		return fmt.Errorf("%s: %w", envEpoch, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	tree := NewTree("test", 0)
	publish := func(now time.Time) error {
		e := energy.Microjoules(now.UnixNano()-epoch) / 1000
		return tree.Publish(update(now, e, testVMs(3)...))
	}
	if err := publish(time.Now()); err != nil {
		return err
	}
	s, err := Start(tree, Options{Path: path, Procfs: "/proc", Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}, OpenStore())
	if err != nil {
		return err
	}
	fmt.Printf("serving, resumed=%v\n", tree.Resumes() == 1)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			if err := publish(now); err != nil {
				return err
			}
		case err := <-served:
			if err != nil {
				return err
			}
			return s.Leave()
		}
	}
}

// testUUID makes up the UUID of VM i.
func testUUID(i int) string { return fmt.Sprintf("6f1e0000-0000-4000-8000-%012x", i) }

func testVMs(n int) []VM {
	vms := make([]VM, n)
	for i := range vms {
		vms[i] = VM{UUID: testUUID(i), Name: fmt.Sprintf("vm%d", i)}
	}
	return vms
}

// update gives all the VMs the same reading.
func update(now time.Time, e energy.Microjoules, vms ...VM) Update {
	for i := range vms {
		vms[i].Values = Values{Updated: now, Interval: time.Second, Power: 12.5}
		for k := range vms[i].Energy {
			vms[i].Energy[k] = e
		}
	}
	return Update{At: now, Kinds: energy.KindsOf(energy.Package, energy.Core, energy.DRAM), Source: energy.SourcePowercap, VMs: vms}
}

var testTime = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

func publish(t *testing.T, tree *Tree, u Update) {
	t.Helper()
	if err := tree.Publish(u); err != nil {
		t.Fatal(err)
	}
}

// options are those of a mount, which takes rights.
func options(t testing.TB, path string) Options {
	t.Helper()
	rights.Require(t, rights.FUSE)
	return Options{Path: path, Procfs: "/proc", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// serve mounts the tree and serves it until the test ends.
func serve(t testing.TB, tree *Tree) (path string, s *Server) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tree")
	s, err := Mount(tree, options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	serveUntilCleanup(t, s)
	return path, s
}

func serveUntilCleanup(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	prime(t, s.Path())
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil && !errors.Is(err, ErrUnmounted) && !errors.Is(err, ErrAborted) {
			t.Error(err)
		}
		if err := s.Unmount(); err != nil {
			t.Error(err)
		}
	})
}

// published makes a tree that shows no VM.
func published(t testing.TB) *Tree {
	t.Helper()
	tree := NewTree("test", 0)
	if err := tree.Publish(Update{At: testTime}); err != nil {
		t.Fatal(err)
	}
	return tree
}

// dirOf gives the name of a VM's directory, "" if it is not shown.
func dirOf(tree *Tree, uuid string) string {
	x := tree.state.Load().names
	if i, ok := x.bySlot[slotOf(uuid)]; ok {
		return x.dirs[i]
	}
	return ""
}

// prime asks for a poll(2) once. A Go program that opens a file asks by epoll_ctl(2), with its processor held;
// here that program is the server too, which then might have none to answer with. After ENOSYS the kernel asks
// no more.
func prime(t testing.TB, path string) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	names, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		file, err := unix.Openat(fd, n.Name()+"/scaph/uuid", unix.O_RDONLY, 0)
		if err != nil {
			continue
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(file), Events: unix.POLLIN}}, 0)
		unix.Close(file)
		return
	}
}

func readFile(t testing.TB, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
