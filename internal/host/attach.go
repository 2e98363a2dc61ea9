package host

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/attach"
	"github.com/scaph/scaph/internal/attach/command"
	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/vfs"
	"github.com/scaph/scaph/internal/vmmap"
	"github.com/scaph/scaph/internal/vmmap/libvirt"
)

// completing is how long a shell waits for the names of VMs.
const completing = 2 * time.Second

// sharing is what attach and detach have in common.
type sharing struct {
	env    *cli.Env
	all    bool
	asked  command.Command
	asType string
}

func attachCommand(e *cli.Env) *cobra.Command {
	s := &sharing{env: e}
	cmd := &cobra.Command{
		Use:   "attach VM…",
		Short: "Give VMs their meter: adds the share to libvirt's definition",
		Long: `Give VMs their meter: adds the share of the VM's directory in the tree to its libvirt definition, by virtiofs (and
makes its memory shared, where it is not) or by 9p. A VM is named by its name, its UUID, or a pattern of names as the
shell has them. All else in the definition stays as it is, and detach takes back what was added.

A VM that runs has its meter after a stop and a start. With --live it has it at once, if libvirt can: by virtiofs,
where the VM was started with shared memory.`,
		Example: `  scaph-host attach web                    # then: virsh start web; in the guest: scaph-guest mount
  scaph-host attach --dry-run web          # what would change, as a diff
  scaph-host attach --type 9p 'db-*' 9bb6ba48-e271-4ae2-8d26-9b1e0e7a6a44
  scaph-host attach --live --all`,
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd, args, (*command.Command).Attach) },
	}
	s.flags(cmd)
	cmd.Flags().StringVar(&s.asType, "type", string(attach.Auto), "virtiofs, 9p, or auto: virtiofs where it is possible")
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{"virtiofs", "9p", "auto"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func detachCommand(e *cli.Env) *cobra.Command {
	s := &sharing{env: e, asType: string(attach.Auto)}
	cmd := &cobra.Command{
		Use:   "detach VM…",
		Short: "Take the meter of VMs away: the definition is as before attach",
		Long: `Take the meter of VMs away: libvirt's definition is as it was before attach, byte for byte. Of a share that was made by hand
only the share goes. A VM that runs has its meter until it is stopped, or with --live until its guest gives it back,
which is possible by virtiofs; unmount it in the guest first.`,
		Example: `  scaph-host detach web
  scaph-host detach --dry-run --all
  scaph-host detach --live web             # in the guest first: umount /var/scaphandre`,
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd, args, (*command.Command).Detach) },
	}
	s.flags(cmd)
	return cmd
}

func (s *sharing) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.all, "all", false, "all VMs that libvirt has")
	cmd.Flags().BoolVar(&s.asked.DryRun, "dry-run", false, "show what would change in the definition, as a diff, and change nothing")
	cmd.Flags().BoolVar(&s.asked.Live, "live", false, "for VMs that run too, at once, where libvirt can")
	cmd.Args = cobra.ArbitraryArgs
	cmd.ValidArgsFunction = s.complete
}

func (s *sharing) run(cmd *cobra.Command, args []string, do func(*command.Command, context.Context, []vmmap.Domain) bool) error {
	switch t := attach.Type(s.asType); t {
	case attach.Virtiofs, attach.NineP, attach.Auto:
		s.asked.Type = t
	default:
		return cli.UsageErrorf("--type %q: must be virtiofs, 9p or auto", s.asType)
	}
	if s.all == (len(args) > 0) {
		return cli.UsageErrorf("name the VMs, or give --all")
	}
	c, log, err := s.env.LoadQuiet(cmd)
	if err != nil {
		return err
	}
	// What only shows a change needs no right to make it.
	editor, err := libvirt.OpenEditor(cmd.Context(), c.Libvirt.URI, !s.asked.DryRun)
	if err != nil {
		return err
	}
	defer editor.Close()
	domains, err := editor.List()
	if err != nil {
		return fmt.Errorf("list domains: %w", err)
	}
	vms, err := command.Select(domains, args, s.all)
	if err != nil {
		return err
	}
	s.asked.Libvirt, s.asked.Out, s.asked.Err = editor, cmd.OutOrStdout(), cmd.ErrOrStderr()
	s.asked.Host = command.LookAtHost("/", c.Host.Sysfs)
	if major, minor, err := editor.QEMU(); err == nil {
		s.asked.Host.Major, s.asked.Host.Minor = major, minor
	}
	s.asked.Tree = command.OpenTree(vfs.Options{Path: c.Tree.Path, Procfs: c.Host.Procfs, Log: log})
	if !do(&s.asked, cmd.Context(), vms) {
		return cli.Failed
	}
	return nil
}

// complete offers the names of libvirt's VMs to the shell.
func (s *sharing) complete(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, _, err := s.env.LoadQuiet(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(context.Background(), completing)
	defer cancel()
	editor, err := libvirt.OpenEditor(ctx, c.Libvirt.URI, false)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer editor.Close()
	domains, err := editor.List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := make([]string, 0, len(domains))
	for _, d := range domains {
		names = append(names, d.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
