package prometheus

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/snapshot/snapshottest"
)

var (
	goVersion  = regexp.MustCompile(`goversion="[^"]*"`)
	createdRow = regexp.MustCompile(`(?m)^(scaph_\w+_created(?:\{.*\})?) (\S+)$`)
)

// comparable leaves out of a scrape what another run or another release of Go has otherwise: the figures of the process, and
// the start of the program as a creation time.
func comparable(scrape []byte) []byte {
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
	for name, s := range map[string]*snapshot.Snapshot{"host": host(3), "odd": snapshottest.Odd()} {
		for format, accept := range map[string]string{"txt": "", "openmetrics": openMetrics} {
			got := comparable(get(handler(options(s)), "/metrics", "Accept", accept).Body.Bytes())
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

func firstDifference(got, want []byte) string {
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(g), len(w)) {
		if !bytes.Equal(g[i], w[i]) {
			return "got  " + string(g[i]) + "\nwant " + string(w[i])
		}
	}
	return "one is the beginning of the other"
}
