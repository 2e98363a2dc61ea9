package prometheus

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot/snapshottest"
)

var (
	goVersion  = regexp.MustCompile(`goversion="[^"]*"`)
	createdRow = regexp.MustCompile(`(?m)^(scaph_\w+_created(?:\{.*\})?) (\S+)$`)
)

// stable leaves out of a scrape what another run or another release of Go has otherwise: the figures of the process, and
// the start of the program as a creation time.
func stable(scrape []byte) []byte {
	var ours bytes.Buffer
	for line := range bytes.Lines(scrape) {
		name := bytes.TrimPrefix(bytes.TrimPrefix(line, []byte("# HELP ")), []byte("# TYPE "))
		if !bytes.HasPrefix(name, []byte("process_")) {
			ours.Write(line)
		}
	}
	out := goVersion.ReplaceAll(ours.Bytes(), []byte(`goversion="GO"`))
	return createdRow.ReplaceAllFunc(out, func(row []byte) []byte {
		at := bytes.LastIndexByte(row, ' ') + 1
		if value := string(row[at:]); strings.HasPrefix(value, "1.5") || strings.HasPrefix(value, "1.6") || value == "0" {
			return row
		}
		return append(row[:at:at], "START"...)
	})
}

// What is served of a fixture host, byte for byte.
func TestGolden(t *testing.T) {
	for name, o := range map[string]what{"host": options(host(3)), "odd": options(snapshottest.Odd()), "compat": compatible()} {
		for format, accept := range map[string]string{"txt": "", "openmetrics": openMetrics} {
			got := stable(get(handler(o), "/metrics", "Accept", accept).Body.Bytes())
			path := filepath.Join("testdata", name+"."+format)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s (%v): not as served:\n%s", path, err, firstDifference(got, want))
			}
		}
	}
}

// compatible is a page with the compatibility table, with a process that is known and others that are not.
func compatible() what {
	s := snapshottest.Odd()
	s.RestPower = 3
	o := options(s)
	system := &series.System{
		Version: 1.2, Self: &series.ProcessUse{CPUPercent: 0.5, Resident: 1 << 20, Virtual: 1 << 21}, Load: &[3]float64{0.1, 0.2, 0.3}, MHz: 3600,
		Memory: &series.Memory{Total: 1 << 30}, Kernel: &series.KernelCounters{Boot: s.Created, Forks: 7},
		Disks: []series.Disk{{FileSystem: "ext4", MountPoint: "/a \"b\"\n", Device: "/dev/sda1", Type: "SSD", Total: 1 << 40}},
		Processes: map[int32]*series.ProcessUse{
			s.VMs[1].PID:       {Exe: "/usr/bin/qemu", Cmdline: "qemu -name \xff", IO: &series.ProcessIO{TotalRead: 1 << 33}},
			s.Processes[0].PID: {Start: s.Processes[0].Start, Exe: "/usr/bin/worker", Cmdline: "worker", Resident: 1 << 20},
		},
	}
	o.System = func() *series.System { return system }
	return o
}

func firstDifference(got, want []byte) string {
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(g), len(w)) {
		if !bytes.Equal(g[i], w[i]) {
			return "got  " + string(g[i]) + "\nwant " + string(w[i])
		}
	}
	return "one is the beginning of the other"
}
