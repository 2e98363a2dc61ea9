package json

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stamp is the time in the name of a file that was set aside, in UTC: names sort as times do.
const stamp = "20060102T150405.000000"

// isDue reports whether the file is to be set aside before so many bytes of a time are written.
func (f *file) isDue(at time.Time, more int64) bool {
	if f.size == 0 {
		return false
	}
	if limit := int64(f.rotate.Size); limit > 0 && f.size+more > limit {
		return true
	}
	period := f.rotate.Interval
	return period > 0 && at.UTC().Truncate(period) != f.last.UTC().Truncate(period)
}

// setAside gives the file a name with the time, and removes the oldest of those that were, where there are too many.
func (f *file) setAside(at time.Time) error {
	prefix, extension := f.names()
	to := prefix + at.UTC().Format(stamp) + extension
	for n := 1; ; n++ { // a rename would replace what is there, as after the clock was set back
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			break
		}
		to = fmt.Sprintf("%s%s-%d%s", prefix, at.UTC().Format(stamp), n, extension)
	}
	if err := os.Rename(f.path, to); err != nil {
		return err
	}
	if err := f.close(); err != nil {
		return err
	}
	return f.prune()
}

// names are what stands before and after the time in the names of files that were set aside.
func (f *file) names() (prefix, extension string) {
	extension = filepath.Ext(f.path)
	return strings.TrimSuffix(f.path, extension) + "-", extension
}

// prune removes the oldest files that were set aside.
func (f *file) prune() error {
	if f.rotate.Keep == 0 {
		return nil
	}
	prefix, extension := f.names()
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	var aside []string
	for _, entry := range entries {
		path := filepath.Join(filepath.Dir(f.path), entry.Name())
		middle, ok := strings.CutPrefix(path, prefix)
		middle, isOurs := strings.CutSuffix(middle, extension)
		middle, _, _ = strings.Cut(middle, "-")
		if _, err := time.Parse(stamp, middle); ok && isOurs && err == nil {
			aside = append(aside, path)
		}
	}
	slices.Sort(aside)
	for _, path := range aside[:max(0, len(aside)-f.rotate.Keep)] {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}
