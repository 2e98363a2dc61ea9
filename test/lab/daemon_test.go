//go:build lab

package lab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A daemon is a long-running program of the lab, ended with the test that started it.
type daemon struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

// start runs a program with its output in <logs>/<name>.log. It dies with the lab even when
// the lab is killed.
func start(t *testing.T, name, program string, args ...string) *daemon {
	t.Helper()
	d := launch(t, name, exec.Command(program, args...))
	t.Cleanup(func() { d.stop(t) })
	return d
}

// launch starts a prepared command, which its caller sees to the end of.
func launch(t *testing.T, name string, cmd *exec.Cmd) *daemon {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(built.logs, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d := &daemon{cmd: cmd, log: log.Name(), done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go func() {
		defer close(d.done)
		_ = d.cmd.Wait() // the state is looked at in stop
	}()
	return d
}

// stop ends the program with SIGTERM and gives its exit code; harmless when it has ended.
// A program that has to be killed is an error of the test.
func (d *daemon) stop(t *testing.T) int {
	t.Helper()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(15 * time.Second):
		t.Errorf("%s does not end within 15 s of SIGTERM; killed (log: %s)", d.cmd.Path, d.log)
		_ = d.cmd.Process.Kill()
		<-d.done
	}
	return d.cmd.ProcessState.ExitCode()
}

// ended tells whether the program has ended by itself.
func (d *daemon) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// command runs a short program, bounded in time, and gives its exit code and both outputs.
func command(t *testing.T, program string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return commandWithInput(t, "", program, args...)
}

func commandWithInput(t *testing.T, input, program string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	// Not the test's own context: clean-up runs commands after that has ended.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, errs strings.Builder
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatalf("%s: %v", program, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}
