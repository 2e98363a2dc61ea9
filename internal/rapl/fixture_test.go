package rapl

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/scaph/scaph/internal/energy"
)

// extract unpacks testdata/<name>.txtar into a new directory. An entry "a -> b" is a symbolic link.
func extract(t *testing.T, name string) string {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, f := range archive.Files {
		if link, target, ok := strings.Cut(f.Name, " -> "); ok {
			path := filepath.Join(root, link)
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.Symlink(target, path))
			continue
		}
		writeFile(t, filepath.Join(root, f.Name), string(f.Data))
	}
	return root
}

// powercap unpacks a fixture and gives its powercap directory.
func powercap(t *testing.T, name string) string {
	t.Helper()
	root := extract(t, name)
	if dir := filepath.Join(root, "sys/class/powercap"); exists(dir) {
		return dir
	}
	return root
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func writeFile(t *testing.T, path, content string) {
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

func open(t *testing.T, dir string, options ...Option) *Reader {
	t.Helper()
	quiet := WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
	r, err := Open(dir, append([]Option{quiet}, options...)...)
	must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func readings(r *Reader) []energy.Reading {
	dst := make([]energy.Reading, len(r.Zones()))
	r.Read(dst)
	return dst
}
