package app

import (
	"log/slog"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

const smaps = `00400000-00403000 r--p 00000000 fe:00 6553663                            /usr/bin/scaph-host
Size:                 12 kB
Rss:                  12 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
00403000-00be5000 r-xp 00003000 fe:00 6553663                            /usr/bin/scaph-host
Rss:                8000 kB
Anonymous:             0 kB
0146d000-0146e000 r--p 0106c000 fe:00 6553663                            /usr/bin/scaph-host (deleted)
Anonymous:             4 kB
0146e000-014ea000 rw-p 0106d000 fe:00 6553663                            /usr/bin/scaph-host
Anonymous:             0 kB
014ea000-03531000 rw-p 00000000 00:00 0
Anonymous:             0 kB
7f0000000000-7f0000001000 r--s 00000000 00:0e 1057                       anon_inode:bpf-map
Anonymous:             0 kB
7f0000001000-7f0000002000 r--s 00000000 fe:00 77                         /srv/shared
Anonymous:             0 kB
7f0000002000-7f0000003000 r--p 00000000 fe:00 78                         /usr/lib/lib with a space.so
Anonymous:             0 kB
7f0000003000-7f0000002000 r--p 00000000 fe:00 78                         /backwards
Anonymous:             0 kB
7fff00000000-7fff00001000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
`

// What is written to, shared, no file, or has pages of its own must stay.
func TestCleanMappings(t *testing.T) {
	want := []mapping{
		{0x400000, 0x403000, "/usr/bin/scaph-host"}, {0x403000, 0xbe5000, "/usr/bin/scaph-host"},
		{0x7f0000002000, 0x7f0000003000, "/usr/lib/lib with a space.so"},
	}
	if got, err := cleanMappings(strings.NewReader(smaps)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzCleanMappings(f *testing.F) {
	f.Add(smaps)
	f.Fuzz(func(t *testing.T, text string) {
		mappings, _ := cleanMappings(strings.NewReader(text))
		for _, m := range mappings {
			if m.start >= m.end || m.path == "" {
				t.Errorf("%+v", m)
			}
		}
	})
}

// TestLinked lets go of this program's pages, and looks whether they are gone and it still works.
func TestLinked(t *testing.T) {
	resident := func() (kB int) {
		t.Helper()
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "RssFile:")
		if kB, err = strconv.Atoi(strings.Fields(rest)[0]); err != nil {
			t.Fatal(err)
		}
		return kB
	}
	before := resident()
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	linked := FindLinked(logger)
	linked.Drop(logger)
	after := resident()
	if len(linked) == 0 || after >= before || log.Len() > 0 {
		t.Errorf("%d kB of files are resident, %d before: %s", after, before, log.String())
	}
	t.Logf("%d kB of files are resident, %d before", after, before)
}
