package state

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// replacement gives contents of all lengths, each of one byte.
func replacement(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1+i*7919%10_000) }

func replace(t *testing.T, f *file, i int) {
	t.Helper()
	if err := f.replace(replacement(i)); err != nil {
		t.Fatal(err)
	}
	if got, err := read(f.path); err != nil || !bytes.Equal(got, replacement(i)) {
		t.Fatalf("replacement %d is not there: %d bytes, %v", i, len(got), err)
	}
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for range 3 { // a later run goes on with the files that are there
		f := &file{path: path}
		for i := range 20 {
			replace(t, f, i)
		}
		if err := f.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReplaceWhatOthersTouch: what somebody puts in the place of the file, or takes away, never comes back as its
// content.
func TestReplaceWhatOthersTouch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	f := &file{path: path}
	for _, touch := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.Rename(path, path+".kept") },
		func() error { return os.Rename(path+".kept", path) },
		func() error { return os.Remove(path + ".new") },
		func() error { return os.Truncate(path, 0) },
		func() error {
			return os.WriteFile(path+".new", []byte("something else, and longer than all the rest"), 0o600)
		},
	} {
		replace(t, f, 1)
		replace(t, f, 2)
		replace(t, f, 3)
		if err := touch(); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			replace(t, f, 4+i)
		}
	}
	// What cannot be done is an error, and begins anew when it can.
	if err := errors.Join(os.Rename(path+".new", path+".kept"), os.Mkdir(path+".new", 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.replace(replacement(20)), f.replace(replacement(21))); err == nil {
		t.Error("a directory was written to")
	}
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	replace(t, f, 22)
	if err := f.close(); err != nil {
		t.Error(err)
	}
}

// TestReadMeanwhile: a reader finds one whole content, however often it is replaced.
func TestReadMeanwhile(t *testing.T) {
	f := &file{path: filepath.Join(t.TempDir(), "state")}
	replace(t, f, 0)
	done := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				done <- f.close()
				return
			default:
			}
			if err := f.replace(replacement(i % 256)); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 2000 {
		b, err := read(f.path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 || !bytes.Equal(b, bytes.Repeat(b[:1], len(b))) {
			t.Fatalf("%d bytes of several contents", len(b))
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func BenchmarkReplace(b *testing.B) {
	f := &file{path: filepath.Join(b.TempDir(), "state")}
	content := bytes.Repeat([]byte("x"), 20_000) // with 1,000 processes
	b.ReportAllocs()
	for b.Loop() {
		if err := f.replace(content); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.close(); err != nil {
		b.Error(err)
	}
}
