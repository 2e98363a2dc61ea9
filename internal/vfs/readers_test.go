package vfs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/procfs/sysfs"
	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/test/rights"
)

// sysfsFor makes a directory that looks like /sys to readers of powercap.
func sysfsFor(t *testing.T, vm string) string {
	t.Helper()
	root := t.TempDir()
	makeDir(t, filepath.Join(root, "class"))
	if err := os.Symlink(vm, filepath.Join(root, "class/powercap")); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestProcfsReader reads a VM's directory by the library that node_exporter and kepler use.
func TestProcfsReader(t *testing.T) {
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 987654321, testVMs(1)...))
	path, _ := serve(t, tree)
	sys, err := sysfs.NewFS(sysfsFor(t, filepath.Join(path, "vm0")))
	if err != nil {
		t.Fatal(err)
	}
	zones, err := sysfs.GetRaplZones(sys)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, z := range zones {
		e, err := z.GetEnergyMicrojoules()
		if err != nil {
			t.Error(err)
		}
		got = append(got, fmt.Sprintf("%s %d %d of %d", z.Name, z.Index, e, z.MaxMicrojoules))
	}
	want := []string{"package 0 987654321 of 262143328850", "core 0 987654321 of 262143328850", "dram 0 987654321 of 262143328850"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestNodeExporter has the unmodified program of that name read a VM's directory.
func TestNodeExporter(t *testing.T) {
	const program = "prometheus-node-exporter"
	rights.Require(t, rights.FUSE, rights.Program(program, program))
	path := filepath.Join(t.TempDir(), "tree")
	c := startChild(t, nil, path, testTime) // node_exporter polls what it opens: see prime
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	cmd := exec.CommandContext(t.Context(), program, "--collector.disable-defaults", "--collector.rapl",
		"--path.sysfs="+sysfsFor(t, filepath.Join(path, "vm0")), "--web.listen-address="+address)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var page string
	poll(t, "answer of node_exporter", func() bool {
		response, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		page = string(body)
		return err == nil
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for _, metric := range []string{"node_rapl_package_joules_total", "node_rapl_core_joules_total", "node_rapl_dram_joules_total", `node_scrape_collector_success{collector="rapl"} 1`} {
		if !strings.Contains(page, "\n"+metric) {
			t.Errorf("no %s in\n%s", metric, page)
		}
	}
	c.end(t, unix.SIGTERM)
}

// TestReaderMatrix reads a value by all the ways that people read files.
func TestReaderMatrix(t *testing.T) {
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 987654321, testVMs(1)...))
	path, _ := serve(t, tree)
	file := filepath.Join(path, "vm0/intel-rapl:0/energy_uj")
	const want = "987654321\n"
	for _, c := range [][]string{
		{"cat", file},
		{"dd", "if=" + file, "bs=1", "status=none"},
		{"dd", "if=" + file, "bs=4096", "status=none"},
		{"dd", "if=" + file, "iflag=direct", "bs=4096", "status=none"},
		{"head", "-c", "100", file},
		{"tail", "-n", "1", file},
		{"sh", "-c", `read v < "$0"; echo $v`, file},
		{"sh", "-c", `cp "$0" "$1" && cat "$1"`, file, filepath.Join(t.TempDir(), "copy")},
		{"busybox", "cat", file}, // sendfile(2)
		{"python3", "-c", "import sys; f = open(sys.argv[1]); f.read(); f.seek(0); print(int(f.read()))", file},
		{"python3", "-c", "import mmap, os, sys; f = os.open(sys.argv[1], os.O_RDONLY); print(mmap.mmap(f, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)[:].decode(), end='')", file},
	} {
		t.Run(strings.Join(c[:min(2, len(c))], " "), func(t *testing.T) {
			rights.Require(t, rights.Program(c[0], c[0]))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, c[0], c[1:]...)
			cmd.Stderr = t.Output()
			if out, err := cmd.Output(); err != nil || string(out) != want {
				t.Errorf("%q, %v; want %q", out, err, want)
			}
		})
	}
	t.Run("Go", func(t *testing.T) {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for range 3 {
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(f).ReadString('\n'); line != want {
				t.Errorf("%q, %v", line, err)
			}
		}
		if end, err := f.Seek(0, io.SeekEnd); end != int64(len(want)) || err != nil {
			t.Errorf("end at %d, %v", end, err)
		}
	})
}

// TestFlood measures what a guest that does nothing but ask does to another guest's reads and to a ticker in
// the serving process.
func TestFlood(t *testing.T) {
	tree := NewTree("test", 0)
	publish(t, tree, update(testTime, 987654321, testVMs(2)...))
	path, _ := serve(t, tree)
	victim := filepath.Join(path, "vm1/intel-rapl:0/energy_uj")
	measure := func() (read, late time.Duration) {
		const n = 100
		var reads, lates []time.Duration
		buf := make([]byte, 64)
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for range n {
			due := <-ticker.C
			lates = append(lates, time.Since(due))
			began := time.Now()
			if _, err := readValue(victim, -1, buf); err != nil {
				t.Fatal(err)
			}
			reads = append(reads, time.Since(began))
		}
		slices.Sort(reads)
		slices.Sort(lates)
		return reads[n/2], lates[n*9/10]
	}
	calmRead, calmLate := measure()

	// A flooding guest has as many requests under way as its virtiofsd has threads.
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			buf := make([]byte, 64)
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := readValue(filepath.Join(path, "vm0/intel-rapl:0/energy_uj"), -1, buf); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	before := tree.Reads()
	began := time.Now()
	floodRead, floodLate := measure()
	rate := float64(tree.Reads()-before) / time.Since(began).Seconds()
	close(stop)
	wg.Wait()
	t.Logf("read p50: %v calm, %v under a flood of %.0f reads/s; tick late p90: %v calm, %v under the flood", calmRead, floodRead, rate, calmLate, floodLate)
	if floodRead > 100*time.Millisecond || floodLate > 100*time.Millisecond {
		t.Error("a flood starves others")
	}
}
