package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/scaph/scaph/test/source"
	"github.com/scaph/scaph/test/wait"
)

// reporter runs `scaph-host json` and waits until it has reported so often.
func reporter(t *testing.T, dir string, reports int, args ...string) *exec.Cmd {
	t.Helper()
	path := filepath.Join(dir, "report")
	cmd := exec.Command(filepath.Join(programs, "scaph-host"),
		append([]string{"json", "--sysfs", filepath.Join(dir, "sys"), "-s", "0", "--step-nano", "100000000", "-f", path}, args...)...)
	cmd.Env = append(os.Environ(), "SCAPH_LIBVIRT_ENABLED=false")
	before, _ := os.ReadFile(path) // there may be none yet
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	wait.Until(t, "reports", patience, func() bool {
		now, err := os.ReadFile(path)
		return err == nil && bytes.Count(now, []byte("\n{")) >= bytes.Count(before, []byte("\n{"))+reports
	})
	return cmd
}

// However the command ends, its file is whole, and the next one goes on with it.
func TestJSONFileIsWholeAtAnyEnd(t *testing.T) {
	t.Parallel()
	source.Depend(t, "cmd", "internal")
	for _, format := range []string{"array", "jsonl"} {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := newMachine(filepath.Join(dir, "sys")); err != nil {
				t.Fatal(err)
			}
			last := 0
			for _, end := range []os.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGINT, syscall.SIGKILL} {
				cmd := reporter(t, dir, 2, "--format", format)
				if err := cmd.Process.Signal(end); err != nil {
					t.Fatal(err)
				}
				if err := cmd.Wait(); err != nil && end != syscall.SIGKILL {
					t.Errorf("%v: %v", end, err)
				}
				text, err := os.ReadFile(filepath.Join(dir, "report"))
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				if format == "array" {
					var reports []struct{ Sockets []struct{ ID int } }
					if err := json.Unmarshal(text, &reports); err != nil || len(reports[0].Sockets) == 0 {
						t.Fatalf("%v: %v\n%s", end, err, text)
					}
					n = len(reports)
				} else {
					for line := range strings.Lines(string(text)) {
						if !json.Valid([]byte(line)) || line[len(line)-1] != '\n' {
							t.Fatalf("%v: %q", end, line)
						}
						n++
					}
				}
				if n < last+2 {
					t.Errorf("%v: %d reports after %d", end, n, last)
				}
				last = n
			}
		})
	}
}

// On standard output the array is closed at the end too, be that a signal or the timeout.
func TestJSONOnStandardOutput(t *testing.T) {
	t.Parallel()
	source.Depend(t, "cmd", "internal")
	dir := t.TempDir()
	if _, err := newMachine(filepath.Join(dir, "sys")); err != nil {
		t.Fatal(err)
	}
	for _, timeout := range []string{"3", "-1"} {
		cmd := exec.Command(filepath.Join(programs, "scaph-host"), "json", "--sysfs", filepath.Join(dir, "sys"), "-s", "1", "-t", timeout)
		cmd.Env = append(os.Environ(), "SCAPH_LIBVIRT_ENABLED=false")
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		first := make([]byte, 1)
		if _, err := pipe.Read(first); err != nil {
			t.Fatal(err)
		}
		out.Write(first)
		if timeout == "-1" {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := out.ReadFrom(pipe); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("-t %s: %v", timeout, err)
		}
		var reports []any
		if err := json.Unmarshal(out.Bytes(), &reports); err != nil || len(reports) == 0 || timeout == "3" && len(reports) != 3 {
			t.Errorf("-t %s: %d reports, %v:\n%s", timeout, len(reports), err, &out)
		}
	}
}

// Reports of the service go on over reloads, in one file. Health is there without Prometheus.
func TestJSONOfTheService(t *testing.T) {
	t.Parallel()
	s := newService(t)
	path := filepath.Join(s.dir, "report")
	more := "json: {enabled: true, interval: 0s, file: " + path + "}\nprometheus: {enabled: false}\n"
	s.configure(more)
	s.start()
	count := func() int {
		text, err := os.ReadFile(path)
		var reports []any
		if err != nil || json.Unmarshal(text, &reports) != nil {
			return -1 // not yet, or in the middle of a write
		}
		return len(reports)
	}
	s.await("reports", func() bool { return count() >= 2 })
	for _, page := range []struct {
		path string
		want int
	}{{"/healthz", 200}, {"/readyz", 200}, {"/", 200}, {"/metrics", 404}} {
		if got := status(t, s.url+page.path); got != page.want {
			t.Errorf("%s: %d, want %d", page.path, got, page.want)
		}
	}
	s.configure(more + "attribution: {idle: none}\n")
	s.hup()
	s.awaitLog(`(reloaded" changes)`)
	now := count()
	s.await("reports after a reload", func() bool { return count() >= now+2 })
}
