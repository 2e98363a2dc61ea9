package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/vmmap/libvirt"
)

func checkCommand(e *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Say whether the service could work here, and how to mend what is missing",
		Long: `Say whether the service could work here, and how to mend what is missing.

The exit code is 1 if the service could not work: a line says FAIL. Lines that say note name what it can
do without.`,
		Example: "  scaph-host check --config /etc/scaph/scaph-host.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := e.Load(cmd, nil)
			if err != nil {
				return err
			}
			quiet := slog.New(slog.DiscardHandler)
			findings := []cli.Finding{checkSensor(c, quiet), cli.CheckCPUTime(c)}
			findings = append(findings, checkLibvirt(cmd.Context(), c, quiet)...)
			if c.Tree.Enabled != config.None {
				findings = append(findings, checkTree(c)...)
			}
			findings = append(findings, checkState(c.State)...)
			if c.Prometheus.Enabled {
				findings = append(findings, checkListen(c.Prometheus.Listen))
			}
			return cli.Report(cmd.OutOrStdout(), findings)
		},
	}
}

func checkSensor(c config.Config, log *slog.Logger) cli.Finding {
	what, remedy, err := app.CheckSensor(c, config.Host, log)
	if err != nil {
		return cli.Finding{Verdict: cli.Fail, Part: "sensor", What: what, Mend: remedy}
	}
	return cli.Finding{Verdict: cli.OK, Part: "sensor", What: what}
}

func checkLibvirt(ctx context.Context, c config.Config, log *slog.Logger) []cli.Finding {
	runtime := cli.Finding{Verdict: cli.OK, Part: "VM files", What: runtimeDir + " can be read"}
	if _, err := os.ReadDir(runtimeDir); err != nil {
		runtime = cli.Finding{
			Verdict: cli.Note, Part: "VM files", What: err.Error(),
			Mend: "without libvirt's runtime files, virtual machines are known by libvirt's API or their command lines",
		}
	}
	if c.Libvirt.Enabled == config.None {
		return []cli.Finding{runtime}
	}
	verdict := cli.Note
	if c.Libvirt.Enabled == config.On {
		verdict = cli.Fail
	}
	client, err := libvirt.Open(c.Libvirt.URI, log)
	if err != nil {
		return []cli.Finding{{
			Verdict: verdict, Part: "libvirt", What: err.Error(),
			Mend: "names then come from libvirt's runtime files or from command lines; install libvirt's client library for the rest",
		}, runtime}
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, firstListing)
	defer cancel()
	domains, err := client.List(ctx)
	if err != nil {
		return []cli.Finding{{
			Verdict: verdict, Part: "libvirt", What: c.Libvirt.URI + ": " + err.Error(),
			Mend: "see what `virsh -r -c " + c.Libvirt.URI + " list` says: libvirtd (or virtqemud) must run, and answer our user",
		}, runtime}
	}
	return []cli.Finding{{Verdict: cli.OK, Part: "libvirt", What: fmt.Sprintf("%s: %d domains", c.Libvirt.URI, len(domains))}, runtime}
}

// checkTree looks at what the tree of meters needs. What is missing is fatal only where the tree was asked for.
func checkTree(c config.Config) []cli.Finding {
	verdict := cli.Note
	if c.Tree.Enabled == config.On {
		verdict = cli.Fail
	}
	findings := []cli.Finding{checkFUSE(verdict), checkResend()}
	if os.Geteuid() != 0 {
		findings = append(findings, cli.Finding{
			Verdict: verdict, Part: "mount", What: "not root: the tree cannot be mounted at " + c.Tree.Path,
			Mend: "run as root, or let the unit mount it first",
		})
	}
	if enabled, err := os.ReadFile(filepath.Join(c.Host.Sysfs, "module/apparmor/parameters/enabled")); err == nil && bytes.HasPrefix(enabled, []byte("Y")) {
		f := cli.Finding{Verdict: cli.OK, Part: "AppArmor", What: "active; libvirt allows each guest the directories of its shares by itself"}
		if !strings.HasPrefix(c.Tree.Path, "/var/lib/libvirt/") {
			f = cli.Finding{
				Verdict: cli.Note, Part: "AppArmor", What: "active, and " + c.Tree.Path + " is not below /var/lib/libvirt",
				Mend: "if a guest does not start, allow the path in /etc/apparmor.d/local/abstractions/libvirt-qemu",
			}
		}
		findings = append(findings, f)
	}
	return findings
}

func checkFUSE(verdict cli.Verdict) cli.Finding {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return cli.Finding{
			Verdict: verdict, Part: "FUSE", What: "/dev/fuse: " + err.Error(),
			Mend: "run as root; in a container, give it the device",
		}
	case err != nil:
		return cli.Finding{
			Verdict: verdict, Part: "FUSE", What: "/dev/fuse: " + err.Error(),
			Mend: "load the module with `modprobe fuse`; in a container, give it the device",
		}
	}
	_ = unix.Close(fd)
	return cli.Finding{Verdict: cli.OK, Part: "FUSE", What: "/dev/fuse can be opened"}
}

// checkResend tells whether requests in flight survive a kill: FUSE_NOTIFY_RESEND came with Linux 6.9.
func checkResend() cli.Finding {
	var uts unix.Utsname
	var major, minor int
	if err := unix.Uname(&uts); err == nil {
		_, _ = fmt.Sscanf(unix.ByteSliceToString(uts.Release[:]), "%d.%d", &major, &minor)
	}
	if major > 6 || major == 6 && minor >= 9 {
		return cli.Finding{Verdict: cli.OK, Part: "kernel", What: fmt.Sprintf("%d.%d: reads in flight survive a kill of the service", major, minor)}
	}
	return cli.Finding{
		Verdict: cli.Note, Part: "kernel", What: fmt.Sprintf("%d.%d is older than 6.9: a read in flight when the service is killed waits for its caller's end", major, minor),
		Mend: "an ordinary restart is not affected; there is nothing to do",
	}
}

func checkState(c config.State) []cli.Finding {
	var findings []cli.Finding
	for _, dir := range []string{c.Run, c.Lib} {
		f := cli.Finding{Verdict: cli.OK, Part: "state", What: dir + " can be written"}
		if err := writable(dir); err != nil {
			f = cli.Finding{Verdict: cli.Fail, Part: "state", What: err.Error(), Mend: "run as root, or set state.run and state.lib to directories of our own"}
		}
		findings = append(findings, f)
	}
	return findings
}

// writable tells whether a file could be made in dir, or dir be made.
func writable(dir string) error {
	for {
		err := unix.Access(dir, unix.W_OK|unix.X_OK)
		if err == unix.ENOENT && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return &os.PathError{Op: "write to", Path: dir, Err: err}
		}
		return nil
	}
}

func checkListen(address string) cli.Finding {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return cli.Finding{
			Verdict: cli.Note, Part: "Prometheus", What: err.Error(),
			Mend: "if that is the service itself, all is well; else choose another prometheus.listen",
		}
	}
	_ = listener.Close()
	return cli.Finding{Verdict: cli.OK, Part: "Prometheus", What: address + " is free"}
}
