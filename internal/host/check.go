package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/vfs"
	"github.com/scaph/scaph/internal/vmmap/libvirt"
)

// Check looks at what only a host has.
func Check(ctx context.Context, c config.Config, running bool) []cli.Finding {
	findings := checkLibvirt(ctx, c, slog.New(slog.DiscardHandler))
	if c.Tree.Enabled != config.None {
		findings = append(findings, checkTree(c, running)...)
	}
	return findings
}

func checkLibvirt(ctx context.Context, c config.Config, log *slog.Logger) []cli.Finding {
	runtime := cli.Finding{Verdict: cli.OK, Part: "VM files", What: runtimeDir + " can be read"}
	if _, err := os.ReadDir(runtimeDir); err != nil {
		runtime = cli.Finding{
			Verdict: cli.Note, Part: "VM files", What: err.Error(),
			Hint: "without libvirt's runtime files, virtual machines are known by libvirt's API or their command lines",
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
			Hint: "names then come from libvirt's runtime files or from command lines; install libvirt's client library for the rest",
		}, runtime}
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, firstListing)
	defer cancel()
	domains, err := client.List(ctx)
	if err != nil {
		return []cli.Finding{{
			Verdict: verdict, Part: "libvirt", What: c.Libvirt.URI + ": " + err.Error(),
			Hint: "see what `virsh -r -c " + c.Libvirt.URI + " list` says: libvirtd (or virtqemud) must run, and answer our user",
		}, runtime}
	}
	return []cli.Finding{{Verdict: cli.OK, Part: "libvirt", What: fmt.Sprintf("%s: %d domains", c.Libvirt.URI, len(domains))}, runtime}
}

// checkTree looks at what the tree of meters needs. What is missing is fatal only where the tree was asked for.
func checkTree(c config.Config, running bool) []cli.Finding {
	findings := []cli.Finding{checkMount(c, running), checkResend()}
	if _, err := findGroup(c, slog.New(slog.DiscardHandler)); err != nil {
		f := cli.Finding{Verdict: cli.Fail, Part: "tree", What: err.Error(), Hint: "set tree.owner to the group that qemu runs as, or to auto"}
		if c.Tree.Enabled != config.On && c.Tree.Owner == vfs.Auto {
			f.Verdict = cli.Note
		}
		findings = append(findings, f)
	}
	if enabled, err := os.ReadFile(filepath.Join(c.Host.Sysfs, "module/apparmor/parameters/enabled")); err == nil && bytes.HasPrefix(enabled, []byte("Y")) {
		f := cli.Finding{Verdict: cli.OK, Part: "AppArmor", What: "active; libvirt allows each guest the directories of its shares by itself"}
		if !strings.HasPrefix(c.Tree.Path, "/var/lib/libvirt/") {
			f = cli.Finding{
				Verdict: cli.Note, Part: "AppArmor", What: "active, and " + c.Tree.Path + " is not below /var/lib/libvirt",
				Hint: "if a guest does not start, allow the path in /etc/apparmor.d/local/abstractions/libvirt-qemu",
			}
		}
		findings = append(findings, f)
	}
	return findings
}

func checkMount(c config.Config, running bool) cli.Finding {
	err := vfs.Check(vfs.Options{Path: c.Tree.Path, Procfs: c.Host.Procfs, Log: slog.New(slog.DiscardHandler)})
	f := cli.Finding{Verdict: cli.OK, Part: "tree", What: c.Tree.Path + " can be mounted"}
	switch {
	case err == nil:
	case running && errors.Is(err, vfs.ErrServed):
		f.What = c.Tree.Path + " is served by the service that runs"
	case errors.Is(err, vfs.ErrHeld):
		f.Verdict, f.What = cli.Note, err.Error()
	default:
		f.Verdict, f.What = cli.Note, err.Error()
		if c.Tree.Enabled == config.On {
			f.Verdict = cli.Fail
		}
	}
	return f
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
		Hint: "an ordinary restart is not affected; there is nothing to do",
	}
}
