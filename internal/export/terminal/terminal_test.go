package terminal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
)

var update = flag.Bool("update", false, "write the golden files anew")

const joule = energy.Joule

// pair gives two Snapshots of a two-socket host, ten seconds apart.
func pair() (before, now *snapshot.Snapshot) {
	snapshot := func(seconds int) *snapshot.Snapshot {
		n := energy.Microjoules(seconds)
		zone := func(path, name string, kind energy.Kind, pkg int, power energy.Microjoules) snapshot.Zone {
			return snapshot.Zone{
				Zone:  energy.Zone{Path: path, Name: name, Kind: kind, Package: pkg, Die: -1, Source: energy.SourcePowercap},
				Total: n * power, Power: 1, Attributed: kind == energy.Package || kind == energy.DRAM,
			}
		}
		vm := func(uuid, name, state string, pid int32, power energy.Microjoules) snapshot.VM {
			return snapshot.VM{
				UUID: uuid, Name: name, State: state, Present: state != "gone", Source: "libvirt", VCPUs: 2, PID: pid,
				CPU: time.Duration(seconds) * time.Second / 2, Power: 1,
				Energy: snapshot.Energies{
					energy.Package: {n * power * 6 / 10, n * power * 3 / 10},
					energy.Core:    {n * power * 5 / 10, 0}, // a part of package: not added
					energy.DRAM:    {n * power / 10, 0},
				},
			}
		}
		return &snapshot.Snapshot{
			Time: time.Unix(1_700_000_000, 0).Add(time.Duration(seconds) * time.Second), Interval: time.Second,
			Zones: []snapshot.Zone{
				zone("intel-rapl:0", "package-0", energy.Package, 0, 40*joule),
				zone("intel-rapl:0:0", "core", energy.Core, 0, 30*joule),
				zone("intel-rapl:0:1", "dram", energy.DRAM, 0, 5*joule),
				zone("intel-rapl:2", "package-1", energy.Package, 1, 20*joule),
				zone("intel-rapl:2:1", "dram", energy.DRAM, 1, 2500*energy.Millijoule),
				zone("intel-rapl:1", "psys", energy.Psys, -1, 80*joule),
			},
			Basis: energy.PackageBasis,
			Host:  snapshot.Host{Energy: n * 67500 * energy.Millijoule, Power: 1, Source: energy.SourcePowercap},
			VMs: []snapshot.VM{
				vm("11111111-0000-4000-8000-000000000001", "db", "running", 100, 12*joule),
				vm("22222222-0000-4000-8000-000000000002", "web\x1b[2J\xff", "running", 200, 25*joule),
				vm("33333333-0000-4000-8000-000000000003", "spare", "shutoff", 0, 0),
				vm("44444444-0000-4000-8000-000000000004", "undefined", "gone", 0, 0), // has series only
			},
			Processes: []snapshot.Process{
				{PID: 300, Start: 1, Comm: "postgres", Exe: "/usr/lib/postgresql/bin/postgres", Power: 1, Listed: true, Energy: n * 8 * joule},
				{PID: 301, Start: 2, Comm: "kworker/0:1", Kernel: true, Power: 0.25},
				{PID: 302, Start: 3, Comm: "evil\r\n", Exe: "/tmp/\x1b]0;title\x07x", Power: 2},
			},
			Unattributed: []snapshot.Unattributed{
				{Kind: energy.Package, Reason: "unseen", Energy: n * joule},
				{Kind: energy.DRAM, Reason: "unseen", Energy: n * joule / 2},
				{Kind: energy.Package, Reason: "idle", Energy: 7 * joule},
			},
		}
	}
	return snapshot(100_000), snapshot(100_010)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s (%v), got:\n%s\nwant:\n%s", path, err, got, want)
	}
	if i := bytes.IndexFunc(got, func(r rune) bool { return r < ' ' && r != '\n' }); i >= 0 {
		t.Errorf("a control character at byte %d", i)
	}
}

func TestRounds(t *testing.T) {
	before, now := pair()
	for name, tt := range map[string]struct {
		before  *snapshot.Snapshot
		options Options
	}{
		"round.txt": {before, Options{Processes: 5}},
		"first.txt": {nil, Options{Processes: 2}},
		"regex.txt": {before, Options{Processes: 5, Regex: regexp.MustCompile("^(postgres|/tmp/)")}},
		"vms.txt":   {before, Options{VMsOnly: true}},
	} {
		var b bytes.Buffer
		if err := WriteRound(&b, tt.before, now, tt.options); err != nil {
			t.Error(err)
		}
		golden(t, name, b.Bytes())
	}
	bare := *now
	bare.VMs, bare.Unattributed, bare.Simulated = nil, nil, true
	bare.Zones = []snapshot.Zone{{Zone: energy.Zone{Path: "estimate:0", Kind: energy.Package, Source: energy.SourceEstimate}, Power: 20, Attributed: true, Failed: true}}
	bare.Basis, bare.Host.Source = energy.KindsOf(energy.Package), energy.SourceEstimate
	var b bytes.Buffer
	if err := WriteRound(&b, nil, &bare, Options{Processes: 5}); err != nil {
		t.Error(err)
	}
	golden(t, "simulated.txt", b.Bytes())
}

func TestVMList(t *testing.T) {
	before, now := pair()
	v := snapshot.Between(before, now)
	share := func(uuid string) string {
		if strings.HasPrefix(uuid, "1") {
			return "virtiofs"
		}
		return "no"
	}
	var plain, shared, none bytes.Buffer
	if err := errors.Join(WriteVMs(&plain, v, nil), WriteVMs(&shared, v, share), WriteVMs(&none, snapshot.Between(nil, &snapshot.Snapshot{}), nil)); err != nil {
		t.Fatal(err)
	}
	golden(t, "list.txt", plain.Bytes())
	golden(t, "list-share.txt", shared.Bytes())
	golden(t, "list-none.txt", none.Bytes())

	var text bytes.Buffer
	v.VMs[0].Name = "\x1b\u009b\U000e0001\x7fü"
	if err := WriteVMsJSON(&text, v, share); err != nil {
		t.Fatal(err)
	}
	golden(t, "list.json", text.Bytes())
	var records []VMRecord
	if err := json.Unmarshal(text.Bytes(), &records); err != nil || records[0].Name != v.VMs[0].Name {
		t.Errorf("%v: %q", err, records[0].Name)
	}
}

// Powers are energy over the span, not the last tick's, and no nonsense comes of a meter that began anew.
func TestBetween(t *testing.T) {
	before, now := pair()
	v := snapshot.Between(before, now)
	if v.HostPower != 67.5 || v.VMs[0].Power != 25 || v.Consumers[0].Power != 25 || v.Consumers[2].Power != 8 {
		t.Errorf("%+v", v)
	}
	v = snapshot.Between(now, before) // in the wrong order: as without
	if v.Span != 0 || v.HostPower != 1 {
		t.Errorf("%+v", v)
	}
	now.Host.Energy = 0
	if v = snapshot.Between(before, now); v.HostPower != 0 {
		t.Errorf("a counter that fell gives %v", v.HostPower)
	}
}

// sequence is a Source of these Snapshots and no more.
type sequence []*snapshot.Snapshot

func (s *sequence) Next(ctx context.Context, _ uint64) *snapshot.Snapshot {
	if len(*s) == 0 || ctx.Err() != nil {
		return nil
	}
	snapshot := (*s)[0]
	*s = (*s)[1:]
	return snapshot
}

func TestRun(t *testing.T) {
	before, now := pair()
	var out, raw bytes.Buffer
	run := func(out io.Writer, o Options, snapshots ...*snapshot.Snapshot) error {
		return New((*sequence)(&snapshots), out, o).Run(t.Context())
	}
	o := Options{Rounds: 1, Processes: 1}
	if err := run(&out, o, before, now, now); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "Host:  "); got != 1 || !strings.Contains(out.String(), "Host:  67.50 W") {
		t.Errorf("%d rounds, want one with what was used in it:\n%s", got, &out)
	}
	out.Reset()
	o.Rounds = -1
	if err := run(&out, o, before, now, now); err != nil || strings.Count(out.String(), "Host:  ") != 2 {
		t.Errorf("until the source ends: %v\n%s", err, &out)
	}
	if err := run(&out, o); err != nil {
		t.Errorf("no Snapshot at all: %v", err)
	}
	if err := run(failing{}, o, before, now); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a closed pipe: %v", err)
	}
	o.Raw = func(w io.Writer, s *snapshot.Snapshot) error {
		_, err := fmt.Fprintln(w, "raw", s.Host.Energy)
		return err
	}
	if err := run(&raw, o, before, now); err != nil || raw.String() != "raw 6750675.000000 J\n" {
		t.Errorf("%v: %q", err, &raw)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Whatever a machine is called, nothing but text reaches the terminal.
func FuzzRound(f *testing.F) {
	f.Add("a\x1b[31m", "/bin/\xff", "running")
	f.Fuzz(func(t *testing.T, name, exe, state string) {
		before, now := pair()
		now.VMs[0].Name, now.VMs[0].State, now.VMs[0].UUID = name, state, exe
		now.Processes[0].Comm, now.Processes[0].Exe = name, exe
		var b bytes.Buffer
		if err := WriteRound(&b, before, now, Options{Processes: 5}); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(b.String(), func(r rune) bool { return r != '\n' && (r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0)) }) {
			t.Errorf("%q", b.String())
		}
	})
}

// What nothing splits stands on a line of its own, which does not grow without end.
func TestZonesBesideTheHost(t *testing.T) {
	_, now := pair()
	var out bytes.Buffer
	writeHost(&out, snapshot.Between(nil, now))
	if strings.Contains(out.String(), "Beside") {
		t.Errorf("where there is nothing:\n%s", &out)
	}
	for i := range 6 {
		now.Zones = append(now.Zones, snapshot.Zone{
			Zone: energy.Zone{
				Path: fmt.Sprint("hwmon:", i), Name: fmt.Sprintf("chip\x1b%d", i), Kind: energy.Device, Package: -1, Split: energy.ByNothing,
			},
			Power: energy.Watts(i), Missing: i == 1, Failed: i == 1,
		})
	}
	out.Reset()
	writeHost(&out, snapshot.Between(nil, now))
	want := `Beside it, charged to nobody:  device chip\x1b0 0.00 W, device chip\x1b2 2.00 W, device chip\x1b3 3.00 W, device chip\x1b4 4.00 W and 1 more` + "\n"
	if !strings.Contains(out.String(), want) {
		t.Errorf("%s", &out)
	}
}
