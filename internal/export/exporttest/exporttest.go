// Package exporttest holds exporters to what each of them is to do, whatever it exports to.
package exporttest

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/snapshot"
)

// patience bounds every wait.
const patience = 30 * time.Second

// Conform runs the suite on an exporter as its command or its section, with the defaults, opens it.
func Conform(t *testing.T, part export.Part) {
	t.Run("names", func(t *testing.T) { names(t, part) })
	t.Run("end", func(t *testing.T) { end(t, part) })
	t.Run("successor", func(t *testing.T) { successor(t, part) })
}

// names: what others call their VMs and processes reaches no terminal and no parser as it is, and Snapshots stay as they
// are.
func names(t *testing.T, part export.Part) {
	source, untouched := newSource(3), newSource(3)
	out := &buffer{}
	x := open(t, part, source, out)
	stop := begin(t, x)
	source.await(t, x)
	text := out.String()
	for _, page := range x.Pages {
		for _, accept := range []string{"", "application/openmetrics-text;version=1.0.0"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, page.Path, nil)
			r.Header.Set("Accept", accept)
			w := httptest.NewRecorder()
			page.Handler.ServeHTTP(w, r)
			if w.Code != http.StatusOK || w.Body.Len() == 0 {
				t.Errorf("%s: %d, %d bytes", page.Path, w.Code, w.Body.Len())
			}
			text += w.Body.String()
		}
	}
	stop()
	text += out.String()
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }) {
		t.Errorf("names come out as they came in: %q", text)
	}
	if strings.Contains(text, "\nscaph_forged") {
		t.Error("a name forges a line")
	}
	if strings.Contains(text, strings.Repeat("x", 1000)) {
		t.Error("a name is as long as others want")
	}
	if !reflect.DeepEqual(source.snapshots, untouched.snapshots) {
		t.Error("Snapshots were changed")
	}
}

// end: it ends with its context, before the first tick and after some.
func end(t *testing.T, part export.Part) {
	for _, n := range []int{0, 1, 3} {
		source := newSource(n)
		x := open(t, part, source, &buffer{})
		stop := begin(t, x)
		source.await(t, x)
		stop()
	}
}

// successor: the next one is opened while it runs, and either of them ends by itself.
func successor(t *testing.T, part export.Part) {
	source := newSource(2)
	former := open(t, part, source, &buffer{})
	stop := begin(t, former)
	source.await(t, former)
	refused := open(t, part, source, &buffer{})
	closeIt(t, refused)
	next := open(t, part, source, &buffer{})
	stop()
	begin(t, next)()
}

// open opens an exporter with its defaults.
func open(t *testing.T, part export.Part, source export.Source, out *buffer) *export.Exporter {
	t.Helper()
	set := pflag.NewFlagSet(part.Name, pflag.ContinueOnError)
	flags := part.Command.Flags(set)
	if flags.Read != nil {
		if err := flags.Read(); err != nil {
			t.Fatal(err)
		}
	}
	opener := flags.Opener
	if opener == nil {
		opener = part.Section()
	}
	x, err := opener.Open(export.Program{
		Name: "scaph-host", Version: "1.2.3", Revision: "abc", Source: source, Log: slog.New(slog.DiscardHandler), Out: out, Rounds: -1,
		Failed: func() { t.Error("a fault was counted") },
	})
	if err != nil {
		t.Fatal(err)
	}
	if x.Target == "" || x.Run == nil && len(x.Pages) == 0 {
		t.Errorf("it does not say where it exports to, or does nothing: %+v", x)
	}
	for _, page := range x.Pages {
		if page.Summary == "" {
			t.Errorf("the index would say nothing of %s", page.Path)
		}
	}
	return x
}

// begin runs an exporter; stop ends it, and fails if that takes for ever.
func begin(t *testing.T, x *export.Exporter) (stop func()) {
	t.Helper()
	if x.Run == nil {
		return func() { closeIt(t, x) }
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("it does not end with its context")
		}
		closeIt(t, x)
	}
}

func closeIt(t *testing.T, x *export.Exporter) {
	t.Helper()
	if x.Close == nil {
		return
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

// A buffer is standard output.
type buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A source has a number of Snapshots, and no more.
type source struct {
	snapshots []*snapshot.Snapshot
	drained   chan struct{} // closed when more was asked for
	once      sync.Once
}

func newSource(n int) *source {
	s := &source{drained: make(chan struct{})}
	for i := range n {
		s.snapshots = append(s.snapshots, hostile(i))
	}
	return s
}

// Latest returns the last Snapshot.
func (s *source) Latest() *snapshot.Snapshot {
	if len(s.snapshots) == 0 {
		return nil
	}
	return s.snapshots[len(s.snapshots)-1]
}

// Next returns one after another.
func (s *source) Next(ctx context.Context, after uint64) *snapshot.Snapshot {
	if after < uint64(len(s.snapshots)) {
		return s.snapshots[after]
	}
	s.once.Do(func() { close(s.drained) })
	<-ctx.Done()
	return nil
}

// await waits until an exporter that runs has had all Snapshots.
func (s *source) await(t *testing.T, x *export.Exporter) {
	t.Helper()
	if x.Run == nil {
		return
	}
	select {
	case <-s.drained:
	case <-time.After(patience):
		t.Fatal("it does not take the Snapshots that there are")
	}
}

// hostile makes the Snapshot of a host whose VMs and processes have bad names.
func hostile(i int) *snapshot.Snapshot {
	e := energy.Microjoules(i) * energy.Joule
	s := &snapshot.Snapshot{
		Basis: energy.PackageBasis,
		Seq:   uint64(i + 1), Time: time.Unix(1_700_000_000+int64(10*i), 0), Interval: 10 * time.Second, CPUSource: "procfs", VMSource: "libvirt",
		Zones: []snapshot.Zone{{Zone: energy.Zone{Path: "intel-rapl:0", Name: "package-0", Source: energy.SourcePowercap}, Total: e, Attributed: true}},
		Host:  snapshot.Host{Energy: e, Power: 1, Source: energy.SourcePowercap},
	}
	for j, name := range []string{
		"\x1b[2J\x1b[31m", "a\nscaph_forged 1", "\"} 1\nscaph_forged 1\n#", "\xff\xfe", "\x00", "{\"a\":", strings.Repeat("x", 5000), "\u202egnp", "",
	} {
		vm := snapshot.VM{UUID: name, Name: name, Title: name, State: "running", Present: true, Source: "argv", Project: name, User: name, Flavor: name, PID: int32(10 + j)}
		vm.Energy[energy.Package][snapshot.Active] = e
		s.VMs = append(s.VMs, vm)
		s.Processes = append(s.Processes, snapshot.Process{PID: int32(100 + j), Comm: name, Exe: name, Power: 1, Listed: true, Energy: e})
		s.Series = append(s.Series, snapshot.ProcessSeries{PID: int32(100 + j), Comm: name, Exe: name, Energy: e})
	}
	return s
}
