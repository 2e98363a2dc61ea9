package hwmon

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/scaph/scaph/internal/energy"
)

// extract unpacks testdata/<name>.txtar into a new directory and returns its sys. An entry "a -> b"
// is a symbolic link.
func extract(t *testing.T, name string) string {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	must(t, err)
	root := t.TempDir()
	for _, f := range archive.Files {
		if link, target, ok := strings.Cut(f.Name, " -> "); ok {
			path := filepath.Join(root, link)
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.Symlink(target, path))
			continue
		}
		write(t, filepath.Join(root, f.Name), string(f.Data))
	}
	return filepath.Join(root, "sys")
}

func write(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var quiet = WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))

// A bench is one device that a test polls, on a clock of the test's.
type bench struct {
	*device
	channels []channel
	clock    time.Duration
	faults   atomic.Uint64
}

// newBench takes the first chip of a sysfs whose id ends in name.
func newBench(t *testing.T, sysfs, name string) *bench {
	t.Helper()
	found, err := discover(sysfs, readFile)
	must(t, err)
	for _, c := range found.chips {
		if strings.HasSuffix(c.id, name) {
			b := &bench{clock: time.Minute}
			b.device = &device{
				chip: c, sysfs: sysfs, read: readFile, now: func() time.Duration { return b.clock },
				faults: &b.faults, answers: make([]answer, len(c.channels)),
			}
			for _, f := range c.channels {
				b.channels = append(b.channels, channel{found: f, integral: integral{updates: f.updates}})
			}
			return b
		}
	}
	t.Fatalf("no chip %s in %v", name, found.chips)
	return nil
}

// at polls when so much time has passed, with a value in the first channel's file, and returns its
// reading.
func (b *bench) at(t *testing.T, after time.Duration, value string) energy.Reading {
	t.Helper()
	b.clock += after
	write(t, filepath.Join(b.dir, b.channels[0].file), value)
	b.poll(b.channels)
	return b.reading(0)
}
