package json

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// files lists the file and those that were set aside.
func files(t *testing.T, c *Config) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(filepath.Dir(c.File), "report*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Rotations lose no report, leave every file whole, and none larger than was asked for.
func TestRotationBySize(t *testing.T) {
	bothFormats(t, func(t *testing.T, c *Config) {
		c.Rotate = Rotate{Size: 8 * kilobyte}
		const reports = 200
		if faults := run(t, c, nil, reports+1); faults != 0 {
			t.Errorf("%d faults", faults)
		}
		n, all := 0, files(t, c)
		for _, path := range all {
			n += count(t, path, c.Format == arrayFormat)
			if info, err := os.Stat(path); err != nil || info.Size() > 8000 {
				t.Errorf("%s: %v, %v", path, info.Size(), err)
			}
		}
		if n != reports || len(all) <= 10 {
			t.Errorf("%d reports in %d files", n, len(all))
		}
	})
}

// A file that is set aside for its age has the reports of one period, counted in UTC, over a restart too.
func TestRotationByTime(t *testing.T) {
	bothFormats(t, func(t *testing.T, c *Config) {
		c.Rotate = Rotate{Interval: 10 * time.Second}
		run(t, c, nil, 31) // reports of the seconds 1 to 30, from a time that 10 s divide
		all := files(t, c)
		if len(all) != 4 {
			t.Fatalf("%q", all)
		}
		for i, want := range []int{9, 10, 10, 1} {
			if n := count(t, all[i], c.Format == arrayFormat); n != want {
				t.Errorf("%s: %d reports, want %d", all[i], n, want)
			}
		}
	})
}

// The newest of the files that were set aside are kept, and nothing else is removed.
func TestRotationKeeps(t *testing.T) {
	bothFormats(t, func(t *testing.T, c *Config) {
		c.Rotate = Rotate{Size: 4 * kilobyte, Keep: 3}
		other := filepath.Join(filepath.Dir(c.File), "report-of-somebody"+filepath.Ext(c.File))
		if err := os.WriteFile(other, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, c, nil, 100)
		all := files(t, c)
		if len(all) != 5 { // three, the present one and the other
			t.Errorf("%q", all)
		}
		if _, err := os.Stat(other); err != nil {
			t.Error(err)
		}
	})
}

// Two files of one moment do not replace each other.
func TestRotationAtOneMoment(t *testing.T) {
	bothFormats(t, func(t *testing.T, c *Config) {
		f := &file{path: c.File, array: c.Format == arrayFormat, rotate: Rotate{Size: 1}}
		for range 5 {
			if err := f.write(start, []byte(`{"time":"x","host":{}}`)); err != nil {
				t.Fatal(err)
			}
		}
		if all := files(t, c); len(all) != 5 {
			t.Errorf("%q", all)
		}
	})
}

// Others may take the file away, as logrotate does, or empty it.
func TestFileIsTakenAway(t *testing.T) {
	bothFormats(t, func(t *testing.T, c *Config) {
		array := c.Format == arrayFormat
		f := &file{path: c.File, array: array}
		one := []byte(`{"time":"x","host":{}}`)
		if array {
			one = []byte(`{"host":{}}`)
		}
		write := func(want int) {
			t.Helper()
			if err := f.write(start, one); err != nil {
				t.Fatal(err)
			}
			if n := count(t, c.File, array); n != want {
				t.Errorf("%d reports, want %d", n, want)
			}
		}
		write(1)
		write(2)
		if err := os.Rename(c.File, c.File+".1"); err != nil {
			t.Fatal(err)
		}
		write(1)
		if n := count(t, c.File+".1", array); n != 2 {
			t.Errorf("what was taken away has %d reports", n)
		}
		if err := os.Truncate(c.File, 0); err != nil {
			t.Fatal(err)
		}
		write(1)
		if err := os.Remove(c.File); err != nil {
			t.Fatal(err)
		}
		write(1)
		write(2)
	})
}

// A disk that is full takes a part of a report: that part is taken back, each report that is lost is counted, and those
// after it are written. A file that may not grow is the same to us: write(2) ends early, and then fails.
func TestFullDisk(t *testing.T) {
	if os.Getenv("MAY_BE_LIMITED") == "" { // as `go test` itself may not be
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestFullDisk$", "-test.v")
		child.Env = append(os.Environ(), "MAY_BE_LIMITED=yes")
		if out, err := child.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestFullDisk/jsonl")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limit := func(bytes uint64) {
		t.Helper()
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: min(bytes, before.Max), Max: before.Max}); err != nil {
			t.Fatal(err)
		}
	}
	defer limit(before.Cur)
	bothFormats(t, func(t *testing.T, c *Config) {
		array := c.Format == arrayFormat
		run(t, c, nil, 4)
		info, err := os.Stat(c.File)
		if err != nil {
			t.Fatal(err)
		}
		size := info.Size()
		for room := int64(0); room < size/3-20; room += 13 { // less than a report takes
			limit(uint64(size + room))
			faults := run(t, c, nil, 3)
			limit(before.Cur)
			if faults != 2 {
				t.Fatalf("%d bytes left: %d faults", room, faults)
			}
			if n := count(t, c.File, array); n != 3 {
				t.Fatalf("%d bytes left: %d reports", room, n)
			}
		}
		if faults := run(t, c, nil, 3); faults != 0 {
			t.Errorf("with room again: %d faults", faults)
		}
		if n := count(t, c.File, array); n != 5 {
			t.Errorf("%d reports", n)
		}
	})
}
