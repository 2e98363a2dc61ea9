package cli

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/export/prometheus"
	"github.com/scaph/scaph/internal/state"
)

// A Verdict is how one part of a pre-flight check ended.
type Verdict string

// The verdicts. Only Fail keeps the service from working.
const (
	OK   Verdict = "ok"
	Note Verdict = "note" // something is missing that the service can do without
	Fail Verdict = "FAIL"
)

// A Finding is one line of a pre-flight check.
type Finding struct {
	Verdict Verdict
	Part    string // sensor, CPU time, …
	What    string // was found
	Hint    string // what to do about it, "" where nothing is to be done
}

func (e *Env) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Say whether the service could work here, and how to fix what is missing",
		Long: `Say whether the service could work here, and how to fix what is missing. Each part is opened as run opens it.

The exit code is 1 if the service could not work: a line says FAIL. Lines that say note name what it can
do without.`,
		Example: fmt.Sprintf("  %[1]s check --config /etc/scaph/%[1]s.yaml", e.Program.Kind),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := e.Load(cmd, nil)
			if err != nil {
				return err
			}
			return report(cmd.OutOrStdout(), e.check(cmd.Context(), c))
		},
	}
}

// check opens everything that run opens, part by part, so that all that is wrong is found.
func (e *Env) check(ctx context.Context, c config.Config) []Finding {
	running, stateErr := app.CheckState(c)
	findings := []Finding{checkSensor(c, e.Program.Kind), checkCPUTime(c)}
	if e.Program.Check != nil {
		findings = append(findings, e.Program.Check(ctx, c, running != nil)...)
	}
	findings = append(findings, checkState(c, running, stateErr))
	if c.Prometheus.Enabled {
		findings = append(findings, checkPrometheus(c, running))
	}
	return findings
}

// report writes the findings, and returns Failed if the service could not work.
func report(w io.Writer, findings []Finding) error {
	failed := false
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%-4s  %-12s %s\n", f.Verdict, f.Part, f.What)
		if f.Hint != "" {
			fmt.Fprintf(&b, "%19s-> %s\n", "", f.Hint)
		}
		failed = failed || f.Verdict == Fail
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if failed {
		return Failed
	}
	return nil
}

func checkSensor(c config.Config, program config.Program) Finding {
	what, hint, err := app.CheckSensor(c, program, slog.New(slog.DiscardHandler))
	f := Finding{Verdict: OK, Part: "sensor", What: what, Hint: hint}
	switch {
	case err != nil:
		f.Verdict = Fail
	case hint != "":
		f.Verdict = Note
	}
	return f
}

func checkCPUTime(c config.Config) Finding {
	what, note, err := app.CheckCPUTime(c)
	switch {
	case err != nil:
		return Finding{Verdict: Fail, Part: "CPU time", What: err.Error(), Hint: note}
	case note != "":
		return Finding{Verdict: Note, Part: "CPU time", What: what, Hint: note}
	}
	return Finding{Verdict: OK, Part: "CPU time", What: what}
}

func checkState(c config.Config, running *state.LockedError, err error) Finding {
	switch {
	case err != nil:
		return Finding{Verdict: Fail, Part: "state", What: err.Error(), Hint: "run as root, or set state.run and state.lib to directories of our own"}
	case running != nil:
		return Finding{Verdict: OK, Part: "state", What: running.Error()}
	}
	return Finding{Verdict: OK, Part: "state", What: c.State.Run + " and " + c.State.Lib + " can be written"}
}

// checkPrometheus opens the endpoint. An address that the running service has is as good as free.
func checkPrometheus(c config.Config, running *state.LockedError) Finding {
	p := c.Prometheus
	server, err := prometheus.Listen(prometheus.Options{
		Listen: p.Listen, Path: p.Path, WebConfig: p.WebConfig, Logger: slog.New(slog.DiscardHandler),
	}, nil)
	switch {
	case err == nil:
		_ = server.Close()
		return Finding{Verdict: OK, Part: "Prometheus", What: p.Listen + " is free"}
	case running != nil && errors.Is(err, syscall.EADDRINUSE) && listens(c.Host.Procfs, running.PID, p.Listen):
		return Finding{Verdict: OK, Part: "Prometheus", What: fmt.Sprintf("%s is the running service's (pid %d)", p.Listen, running.PID)}
	}
	return Finding{Verdict: Fail, Part: "Prometheus", What: err.Error()}
}

// listens reports whether a process listens on the port of an address: one of its descriptors, proc_pid_fd(5), is a
// socket that /proc/PID/net/tcp{,6}, proc_pid_net(5), has as listening there.
func listens(procfs string, pid int, address string) bool {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return false
	}
	dir := filepath.Join(procfs, strconv.Itoa(pid))
	descriptors, err := filepath.Glob(filepath.Join(dir, "fd/*"))
	if err != nil {
		return false
	}
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		for _, inode := range listeners(filepath.Join(dir, table), uint16(port)) {
			if slices.ContainsFunc(descriptors, func(fd string) bool {
				target, err := os.Readlink(fd)
				return err == nil && target == "socket:["+inode+"]"
			}) {
				return true
			}
		}
	}
	return false
}

// listeners returns the inodes of the sockets that listen on a port.
func listeners(table string, port uint16) (inodes []string) {
	const (
		local, status, inode = 1, 3, 9 // fields
		listening            = "0A"
	)
	file, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer file.Close()
	suffix := ":" + strings.ToUpper(hex.EncodeToString([]byte{byte(port >> 8), byte(port)}))
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > inode && fields[status] == listening && strings.HasSuffix(fields[local], suffix) {
			inodes = append(inodes, fields[inode])
		}
	}
	return inodes
}
