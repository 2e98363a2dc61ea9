// Package source ties the results of tests to the source that they build. The go tool keeps results and runs a test
// again when a package that it imports has changed; a program that it builds by itself is not among those. But what
// a test opens is.
package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Depend makes the test's result depend on the modules' versions and on all files below the directories, which are
// relative to the top of the source tree.
func Depend(t testing.TB, directories ...string) {
	t.Helper()
	top, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := os.Stat(filepath.Join(top, "go.sum"))
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || top == filepath.Dir(top) {
			t.Fatalf("no source tree above the test: %v", err)
		}
		top = filepath.Dir(top)
	}
	for _, dir := range directories {
		// To list a directory is enough: sizes and times of its files are part of what the go tool keeps.
		err := filepath.WalkDir(filepath.Join(top, dir), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			t.Fatal(err)
		}
	}
}
