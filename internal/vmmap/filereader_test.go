package vmmap

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestFileReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var r fileReader
	for _, size := range []int{100_000, 0, 1, 511, 512, 513, 100_001} {
		want := bytes.Repeat([]byte{byte(size)}, size)
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := r.read(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of %d, %v", len(got), size, err)
		}
	}
	if _, err := r.read(path + "s"); !gone(err) {
		t.Errorf("a file that does not exist: %v", err)
	}
	if _, err := r.read(filepath.Dir(path)); err == nil || gone(err) {
		t.Errorf("a directory: %v", err)
	}
	if got, err := r.read("/proc/self/stat"); err != nil || len(got) == 0 {
		t.Errorf("%q, %v", got, err)
	}
	if allocations := testing.AllocsPerRun(100, func() { _, _ = r.read(path) }); allocations > 1 { // the path, for the kernel
		t.Errorf("%v allocations", allocations)
	}
}
