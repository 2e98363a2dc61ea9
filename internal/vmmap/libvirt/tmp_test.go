//go:build cgo && libvirt_dlopen

package libvirt

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/vmmap"
)

func TestTmpLong(t *testing.T) {
	d := newDaemon(t)
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	for i := 0; i < 500; i++ {
		d.define(fmt.Sprintf("vmmaptest-%d", i), fmt.Sprintf("a0000000-0000-4000-8000-%012d", i))
	}
	_ = b
	c, err := Open(d.uri("libvirt-sock-ro"), log)
	if err != nil {
		t.Fatal(err)
	}
	m := vmmap.New(vmmap.Config{Procfs: "/proc", Runtime: filepath.Join(d.run(), "qemu"), Libvirt: c, Log: log})
	for range 3 {
		var r0, r1 syscall.Rusage
		syscall.Getrusage(0, &r0)
		now := time.Now()
		l, err := c.List(t.Context())
		syscall.Getrusage(0, &r1)
		t.Log(len(l), err, time.Since(now), "cpu", time.Duration(r1.Utime.Nano()+r1.Stime.Nano()-r0.Utime.Nano()-r0.Stime.Nano()))
	}
	if err := m.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log(len(m.Current().VMs))
	d.cmd.Process.Signal(syscall.SIGSTOP)
	now := time.Now()
	until(t, 90*time.Second, "keepalive closes", func() bool {
		m.Refresh(t.Context())
		return strings.Contains(m.Current().Note, "closed by the daemon") || strings.Contains(m.Current().Note, "eepalive") || time.Since(now) > 40*time.Second
	})
	t.Log(time.Since(now), m.Current().Note)
	<-time.After(5 * time.Second)
	m.Refresh(t.Context())
	t.Log(time.Since(now), m.Current().Note)
	now = time.Now()
	go c.Close()
	<-time.After(6 * time.Second)
	c, err = Open(d.uri("libvirt-sock-ro"), log)
	m = vmmap.New(vmmap.Config{Procfs: "/proc", Runtime: filepath.Join(d.run(), "qemu"), Libvirt: c, Log: log})
	now = time.Now()
	m.Refresh(t.Context())
	t.Log("start with a hung one", time.Since(now), m.Current().Note)
	d.cmd.Process.Signal(syscall.SIGCONT)
	until(t, 60*time.Second, "heals", func() bool { m.Refresh(t.Context()); return m.Current().Note == "libvirt" })
	for range 20 {
		d.end(syscall.SIGKILL)
		d.start()
		until(t, 30*time.Second, "back", func() bool { m.Refresh(t.Context()); return m.Current().Note == "libvirt" })
	}
	fds, _ := os.ReadDir("/proc/self/fd")
	t.Log("fds", len(fds), "goroutines", runtime.NumGoroutine())
	c.Close()
	fds, _ = os.ReadDir("/proc/self/fd")
	t.Log("fds", len(fds), "goroutines", runtime.NumGoroutine())
}
