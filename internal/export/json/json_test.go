package json

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/snapshot"
)

var start = time.Unix(1_700_000_000, 0).UTC()

// second makes the Snapshot of a host with two sockets, the second of which has two dies, at a second: each zone has 1 W
// more than the one before it, from 1 W on.
func second(n int) *snapshot.Snapshot {
	s := &snapshot.Snapshot{Basis: energy.PackageBasis, Seq: uint64(n + 1), Time: start.Add(time.Duration(n) * time.Second), Interval: time.Second}
	s.Host.Source = "powercap"
	for i, z := range []energy.Zone{
		{Path: "intel-rapl:0", Kind: energy.Package, Package: 0}, {Path: "intel-rapl:0:0", Kind: energy.Core, Package: 0},
		{Path: "intel-rapl:0:1", Kind: energy.DRAM, Package: 0}, {Path: "intel-rapl:1", Kind: energy.Package, Package: 1, Die: 0},
		{Path: "intel-rapl:2", Kind: energy.Package, Package: 1, Die: 1}, {Path: "intel-rapl:3", Kind: energy.Psys, Package: -1},
	} {
		zone := snapshot.Zone{Zone: z, Total: energy.Microjoules(n*(i+1)) * energy.Joule, Attributed: z.Kind == energy.Package || z.Kind == energy.DRAM}
		s.Zones = append(s.Zones, zone)
		if zone.Attributed {
			s.Host.Energy += zone.Total
		}
	}
	vm := snapshot.VM{UUID: "u-1", Name: "web\x1b[31m", State: "running", Present: true, PID: 77, VCPUs: 2, CPU: time.Duration(n) * time.Second}
	vm.Energy[energy.Package] = [snapshot.Parts]energy.Microjoules{energy.Microjoules(n) * 2_500_000, energy.Microjoules(n) * 500_000}
	s.VMs = []snapshot.VM{vm}
	for i := range 4 {
		s.Processes = append(s.Processes, snapshot.Process{PID: int32(100 + i), Comm: fmt.Sprintf("p%d", i), Exe: fmt.Sprintf("/usr/bin/p%d", i), Power: energy.Watts(i)})
	}
	s.Unattributed = []snapshot.Unattributed{{Kind: energy.Package, Reason: "idle", Energy: energy.Microjoules(n) * 250_000}}
	return s
}

// seconds is a Source of so many Snapshots; then it waits for the end.
type seconds struct {
	n    int
	over func() // called when the last was asked for
}

func (s seconds) Latest() *snapshot.Snapshot { return second(s.n) }

func (s seconds) Next(ctx context.Context, after uint64) *snapshot.Snapshot {
	if int(after) < s.n {
		return second(int(after))
	}
	s.over()
	<-ctx.Done()
	return nil
}

// export runs the exporter over n Snapshots and returns how many faults it counted.
func run(t *testing.T, c *Config, out io.Writer, n int) (faults int) {
	t.Helper()
	c.Check(func(key string) { t.Fatalf("%s of %+v", key, c) })
	ctx, cancel := context.WithCancel(t.Context())
	x, err := c.Open(export.Program{
		Source: seconds{n, cancel}, Log: slog.New(slog.DiscardHandler), Out: out, Rounds: -1, Failed: func() { faults++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return faults
}

func each(format string) *Config {
	c := defaults()
	c.Format, c.Interval = format, 0
	return c
}

// The array is whole however few reports there are, has all sockets, and is in µW and seconds.
func TestArray(t *testing.T) {
	for _, n := range []int{0, 1, 2, 5} {
		var out bytes.Buffer
		run(t, each(arrayFormat), &out, n)
		var reports []map[string]any
		if err := json.Unmarshal(out.Bytes(), &reports); err != nil || len(reports) != max(0, n-1) {
			t.Fatalf("%d Snapshots: %d reports, %v:\n%s", n, len(reports), err, &out)
		}
	}
	var out bytes.Buffer
	c := each(arrayFormat)
	c.Top = 3
	run(t, c, &out, 2)
	want := `[
{"host":{"consumption":13000000,"timestamp":1700000001,"components":{"disks":[]}},` +
		`"consumers":[{"exe":"","cmdline":"web\\x1b[31m","pid":77,"consumption":3000000,"timestamp":1700000001,"resources_usage":null,"container":null},` +
		`{"exe":"/usr/bin/p3","cmdline":"p3","pid":103,"consumption":3000000,"timestamp":1700000001,"resources_usage":null,"container":null},` +
		`{"exe":"/usr/bin/p2","cmdline":"p2","pid":102,"consumption":2000000,"timestamp":1700000001,"resources_usage":null,"container":null}],` +
		`"sockets":[{"id":0,"consumption":1000000,"domains":[{"name":"core","consumption":2000000,"timestamp":1700000001},{"name":"dram","consumption":3000000,"timestamp":1700000001}],"timestamp":1700000001},` +
		`{"id":1,"consumption":9000000,"domains":[],"timestamp":1700000001}]}
]
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}

// A line has its units in the names, VMs with both parts, and processes that are not VMs.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	c := each(lineFormat)
	c.Top, c.Regex = 1, "^p[12]$"
	run(t, c, &out, 3)
	lines := strings.SplitAfter(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines:\n%s", len(lines), &out)
	}
	var l line
	if err := json.Unmarshal([]byte(lines[1]), &l); err != nil {
		t.Fatal(err)
	}
	if !l.Time.Equal(start.Add(2*time.Second)) || l.SpanSeconds != 1 || l.Source != "powercap" || l.Host != (meter{13, 26}) || len(l.Zones) != 6 || l.Zones[3].meter != (meter{4, 8}) || l.Zones[3].Split != "cpu" {
		t.Errorf("%+v", l)
	}
	if want := []vm{{"u-1", `web\x1b[31m`, "running", 2, meter{3, 6}, 5, 1, 2}}; !slices.Equal(l.VMs, want) {
		t.Errorf("VMs: %+v", l.VMs)
	}
	if want := []process{{102, "p2", "/usr/bin/p2", 2}}; !slices.Equal(l.Processes, want) {
		t.Errorf("processes: %+v", l.Processes)
	}
	if want := []reason{{"idle", 0.25}}; !slices.Equal(l.Unattributed, want) {
		t.Errorf("unattributed: %+v", l.Unattributed)
	}
}

// JSON has no NaN: a power that is none is 0, and the report is written.
func TestPowerThatIsNone(t *testing.T) {
	for _, w := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		v := snapshot.Between(nil, second(1))
		v.HostPower = energy.Watts(w)
		for _, encode := range []func(snapshot.View, int, *regexp.Regexp) ([]byte, error){asReport, asLine} {
			if text, err := encode(v, 1, regexp.MustCompile("")); err != nil || !json.Valid(text) {
				t.Errorf("%v: %v", w, err)
			}
		}
	}
}

// With an interval, a report spans several ticks and has their mean.
func TestInterval(t *testing.T) {
	var out bytes.Buffer
	c := each(lineFormat)
	c.Interval = 3 * time.Second
	run(t, c, &out, 11) // seconds 0 to 10
	var spans []float64
	for text := range strings.Lines(out.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		if spans = append(spans, l.SpanSeconds); l.Host.PowerWatts != 13 {
			t.Errorf("%v W", l.Host.PowerWatts)
		}
	}
	if !slices.Equal(spans, []float64{3, 3, 3}) {
		t.Errorf("spans: %v", spans)
	}
}

// count returns how many reports a file has, all of them whole.
func count(t *testing.T, path string, array bool) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if array {
		var reports []report
		if err := json.Unmarshal(text, &reports); err != nil {
			t.Fatalf("%s: %v\n%s", path, err, text)
		}
		return len(reports)
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		t.Fatalf("%s ends in %q", path, text[max(0, len(text)-20):])
	}
	for line := range bytes.Lines(text) {
		if !json.Valid(line) {
			t.Fatalf("%s: %q", path, line)
		}
	}
	return bytes.Count(text, []byte("\n"))
}

// bothFormats runs a test for either format, with a file that is not there yet.
func bothFormats(t *testing.T, test func(t *testing.T, c *Config)) {
	for _, format := range []string{arrayFormat, lineFormat} {
		t.Run(format, func(t *testing.T) {
			c := each(format)
			c.File = filepath.Join(t.TempDir(), "report."+format)
			test(t, c)
		})
	}
}

// A file goes on after a restart, whatever a kill has left at its end, within each of its parts.
func TestFileIsWholeAfterACrash(t *testing.T) {
	bothFormats(t, func(t *testing.T, c *Config) {
		array := c.Format == arrayFormat
		run(t, c, nil, 3)
		if n := count(t, c.File, array); n != 2 {
			t.Fatalf("%d reports", n)
		}
		text, err := os.ReadFile(c.File)
		if err != nil {
			t.Fatal(err)
		}
		// A third report that was cut off.
		torn := slices.Clone(text)
		if array {
			torn = bytes.TrimSuffix(torn, []byte(arrayEnd))
			torn = append(torn, ",\n"...)
		}
		torn = append(torn, bytes.TrimRight(text[bytes.LastIndexByte(text[:len(text)-4], '\n')+1:], "]\n")...)
		whole := bytes.LastIndexByte(torn, '\n')
		for end := range len(torn) {
			if end > 20 && end < whole-20 && end%29 != 0 || end > whole+40 && end < len(torn)-10 && end%29 != 0 {
				continue // in the middle of a report, one place is as good as another
			}
			if err := os.WriteFile(c.File, torn[:end], 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, c, nil, 2)
			want := 1 + bytes.Count(torn[:end], []byte("}\n")) + bytes.Count(torn[:end], []byte("},\n"))
			if n := count(t, c.File, array); n != want {
				t.Fatalf("cut at %d of %d: %d reports, want %d", end, len(torn), n, want)
			}
		}
	})
}

// What somebody else has written is refused and left as it is; so is what is no file.
func TestForeignFilesAreLeftAlone(t *testing.T) {
	bothFormats(t, func(t *testing.T, c *Config) {
		for _, text := range []string{
			"root:x:0:0\n", `{"a":1}`, "{\n}\n", "[]\n", "[1]", "x", " ", "\n", "{}\n", "[\n{\"a\":1}\n]\n",
			`{"time":"x"}` + "\nnot JSON\n", "[\n" + `{"host":{}}` + "\nnot JSON\n",
		} {
			if err := os.WriteFile(c.File, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Open(export.Program{}); !errors.Is(err, errForeign) {
				t.Errorf("%q: %v", text, err)
			}
			f := &file{path: c.File, array: c.Format == arrayFormat}
			if err := f.write(start, []byte("{}")); err == nil {
				t.Errorf("%q is written to", text)
			}
			if now, err := os.ReadFile(c.File); err != nil || string(now) != text {
				t.Errorf("%q has become %q, %v", text, now, err)
			}
		}
		c.File = t.TempDir()
		for _, path := range []string{c.File, "/dev/null", "/nonexistent/report"} {
			c.File = path
			if _, err := c.Open(export.Program{}); err == nil || !strings.Contains(err.Error(), "json.file "+path) {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
}

// Opening leaves nothing behind.
func TestOpenLeavesNothing(t *testing.T) {
	bothFormats(t, func(t *testing.T, c *Config) {
		if _, err := c.Open(export.Program{}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(c.File); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a file is there: %v", err)
		}
	})
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0B": 0, "4kB": 4000, "100MB": 1e8, "1.5GB": 15e8, "1 MB": 1e6, "1000kB": 1e6, "5B": 5} {
		var s, back Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
		if err := back.UnmarshalText([]byte(s.String())); err != nil || back != s {
			t.Errorf("%d is written %s, read %d (%v)", s, s, back, err)
		}
	}
	for _, text := range []string{"", "1", "1.5B", "-1B", "1KB", "1MiB", "NaNB", "InfB", "B", "1e30GB"} {
		if err := new(Size).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
