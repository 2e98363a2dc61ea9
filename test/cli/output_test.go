package cli

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// outputs are all ways to make the programs write to standard output, and to end soon.
var outputs = [][]string{
	{"scaph-host", "--help"},
	{"scaph-host", "help", "run"},
	{"scaph-host"},
	{"scaph-host", "--version"},
	{"scaph-host", "completion", "bash"},
	{"scaph-host", "completion", "zsh"},
	{"scaph-host", "check"},
	{"scaph-host", "vms"},
	{"scaph-host", "vms", "-o", "json"},
	{"scaph-host", "stdout", "-t", "1", "-s", "1"},
	{"scaph-host", "stdout", "-t", "-1", "-s", "1"},
	{"scaph-host", "stdout", "-t", "1", "-s", "1", "--raw-metrics"},
	{"scaph-host", "demo", "--time", "600"},
	{"scaph-host", "unmount"},
	{"scaph-guest", "--help"},
	{"scaph-guest", "--version"},
	{"scaph-guest", "check"},
	{"scaph-guest", "stdout", "-t", "1", "-s", "1"},
}

func outputCommand(t *testing.T, args []string) (cmd *exec.Cmd, stderr *strings.Builder) {
	t.Helper()
	dir := t.TempDir()
	if _, err := newMachine(filepath.Join(dir, "sys")); err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), filepath.Join(programs, args[0]), args[1:]...)
	cmd.Env = append(os.Environ(), "SCAPH_HOST_SYSFS="+dir+"/sys", "SCAPH_STATE_RUN="+dir+"/run", "SCAPH_STATE_LIB="+dir+"/lib",
		"SCAPH_WEB_LISTEN=127.0.0.1:0", "SCAPH_LOG_LEVEL=error")
	if args[0] == "scaph-host" {
		cmd.Env = append(cmd.Env, "SCAPH_LIBVIRT_ENABLED=false", "SCAPH_TREE_PATH="+dir+"/tree")
	}
	stderr = new(strings.Builder)
	cmd.Stderr = stderr
	return cmd, stderr
}

// What cannot be written is an error, whatever writes it: a table that is not there looks like an empty one.
func TestFullOutput(t *testing.T) {
	for _, args := range outputs {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer full.Close()
			cmd, stderr := outputCommand(t, args)
			cmd.Stdout = full
			_ = cmd.Run() // its exit code says it
			if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "no space left on device") {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
}

// A reader that leaves, as head does, is no error to speak of: nothing is said, nothing stays, and the exit code is that of who
// is ended by SIGPIPE.
func TestClosedPipe(t *testing.T) {
	for _, args := range outputs {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			read.Close()
			cmd, stderr := outputCommand(t, args)
			cmd.Stdout = write
			err = cmd.Start()
			write.Close()
			if err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // its exit code says it
			if code := cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGPIPE) || stderr.Len() > 0 {
				t.Errorf("exit code %d: %q", code, stderr)
			}
		})
	}
}

// The service does not need a reader of its log.
func TestClosedLog(t *testing.T) {
	s := newService(t)
	s.configure("log: {level: debug}\n")
	cmd := s.command()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = write
	err = cmd.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := io.ReadFull(read, make([]byte, 10)); err != nil { // it logs
		t.Fatal(err)
	}
	read.Close()
	for _, signal := range []os.Signal{syscall.SIGHUP, syscall.SIGHUP, syscall.SIGTERM} {
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the service without a reader of its log: %v", err)
	}
}
