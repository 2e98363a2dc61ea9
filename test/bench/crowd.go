package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

//go:embed testdata/crowd.c
var crowdSource []byte

// A crowdMaker starts processes that really exist but cost next to nothing. They are those of a C program of one page:
// a Go program has a megabyte of memory and a handful of threads of its own.
type crowdMaker struct {
	idler   string // the program
	machine string // the same, by the name of a qemu
}

// newCrowdMaker compiles the program in dir.
func newCrowdMaker(ctx context.Context, dir string) (crowdMaker, error) {
	m := crowdMaker{idler: filepath.Join(dir, "crowd"), machine: filepath.Join(dir, "qemu-system-x86_64")}
	source := filepath.Join(dir, "crowd.c")
	if err := os.WriteFile(source, crowdSource, 0o600); err != nil {
		return m, err
	}
	out, err := exec.CommandContext(ctx, "cc", "-O2", "-static", "-o", m.idler, source).CombinedOutput()
	if err != nil {
		return m, fmt.Errorf("compile the program of the idle processes (it takes cc and a static libc): %w\n%s", err, out)
	}
	return m, os.Link(m.idler, m.machine)
}

// A crowd is some processes of ours. They end when it is closed, and when this program ends in any way.
type crowd struct {
	program *exec.Cmd
	hold    io.Closer
}

// idle starts n processes that sleep.
func (m crowdMaker) idle(n int) (*crowd, error) { return m.start(strconv.Itoa(n)) }

// machines starts n stand-ins for virtual machines, numbered from first on.
func (m crowdMaker) machines(n, first int) (*crowd, error) {
	return m.start(strconv.Itoa(n), strconv.Itoa(first), m.machine)
}

func (m crowdMaker) start(args ...string) (*crowd, error) {
	program := exec.Command(m.idler, args...)
	program.Stderr = os.Stderr
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for this program alone
	hold, err := program.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := program.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := program.Start(); err != nil {
		return nil, err
	}
	c := &crowd{program: program, hold: hold}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		return nil, errors.Join(fmt.Errorf("start %s: %q: %w", args, line, err), c.Close())
	}
	return c, nil
}

// Close ends the processes and waits until they are gone.
func (c *crowd) Close() error {
	return errors.Join(c.hold.Close(), c.program.Wait())
}
