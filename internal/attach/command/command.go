package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/scaph/scaph/internal/attach"
	"github.com/scaph/scaph/internal/vfs"
	"github.com/scaph/scaph/internal/vmmap"
)

// A Libvirt is what the commands ask of libvirt. VMs are named by their UUIDs.
type Libvirt interface {
	// Definition returns what a domain is started from; a transient one has none, and that is vmmap.ErrTransient.
	Definition(uuid string, secrets bool) (string, error)
	Live(uuid string) (string, error)
	Define(document string) error
	Plug(uuid, device string) error
	Unplug(uuid, device string) error
	Saved(uuid string) (bool, error)
}

// A Command is one call of attach or detach.
type Command struct {
	Libvirt Libvirt
	Host    Host
	Tree    Tree
	Type    attach.Type
	DryRun  bool // show what would change, and change nothing
	Live    bool // plug the share into VMs that run, or out
	Out     io.Writer
	Err     io.Writer

	attached map[attach.Type]int // how many VMs were given a meter, by type
}

// Attach gives VMs their meters, one by one: what fails with one does not stop the others. It reports whether all was done
// that was asked for.
func (c *Command) Attach(ctx context.Context, vms []vmmap.Domain) bool {
	c.attached = map[attach.Type]int{}
	ok := c.each(ctx, vms, c.attachOne)
	c.advise()
	return ok
}

// Detach takes the meters of VMs away.
func (c *Command) Detach(ctx context.Context, vms []vmmap.Domain) bool {
	return c.each(ctx, vms, c.detachOne)
}

func (c *Command) each(ctx context.Context, vms []vmmap.Domain, one func(context.Context, vmmap.Domain) error) bool {
	ok := true
	for _, vm := range vms {
		err := ctx.Err()
		if err == nil {
			err = one(ctx, vm)
		}
		if err != nil {
			fmt.Fprintf(c.Err, "%s: %v\n", printable(vm.Name), err)
			ok = false
		}
	}
	return ok
}

// say writes a line about a VM, note one below it.
func (c *Command) say(vm vmmap.Domain, format string, args ...any) {
	fmt.Fprintf(c.Out, "%s: %s\n", printable(vm.Name), fmt.Sprintf(format, args...))
}

func (c *Command) note(format string, args ...any) { fmt.Fprintf(c.Out, "  "+format+"\n", args...) }

// running reports whether a VM has a process that a share could be plugged into.
func running(vm vmmap.Domain) bool { return vm.State != vmmap.Shutoff }

func (c *Command) attachOne(ctx context.Context, vm vmmap.Domain) error {
	share := attach.Share{Type: c.Type, NoVirtiofs: c.Host.NoVirtiofs, Source: filepath.Join(c.Tree.Path, vfs.DirName(vm.Name, vm.UUID))}
	document, err := c.Libvirt.Definition(vm.UUID, !c.DryRun)
	if errors.Is(err, vmmap.ErrTransient) {
		return c.attachTransient(ctx, vm, share)
	}
	if err != nil {
		return err
	}
	r, err := attach.Attach([]byte(document), share)
	if err != nil {
		return err
	}
	if c.DryRun {
		fmt.Fprint(c.Out, attach.Diff(printable(vm.Name), []byte(document), r.Document))
		if !r.Changed {
			c.say(vm, "attached already, by %s", r.Type)
		}
		return nil
	}
	noDirectory := c.Tree.await(ctx, share.Source, vm.UUID)
	if errors.Is(noDirectory, errForeign) {
		return noDirectory
	}
	if r, err = c.define([]byte(document), share, r); err != nil {
		return err
	}
	share.Type = r.Type
	c.attached[r.Type]++
	c.tellAttached(vm, share, r)
	if noDirectory != nil {
		c.note("it cannot start before %s is there (%v): start scaph-host", share.Source, noDirectory)
	}
	if saved, err := c.Libvirt.Saved(vm.UUID); err == nil && saved {
		c.note("it has a saved state (managed save), and goes on from that without the meter: it has it at the start after next")
	}
	if !running(vm) {
		return nil
	}
	live, err := c.look(vm)
	if err != nil {
		return err
	}
	restart := fmt.Sprintf("it has it after a stop and a start (virsh shutdown %s, then virsh start %[1]s; a reboot is not enough)", handle(vm))
	if live.Share != "" {
		c.note("it runs, and has the meter now")
		return nil
	}
	if !c.Live {
		c.note("it runs: %s", restart)
		return nil
	}
	if err := c.plug(vm, live, share); err != nil {
		return fmt.Errorf("not plugged in: %w: %s", err, restart)
	}
	c.note("it runs, and the meter is plugged in")
	return nil
}

// attachTransient gives a VM that has no definition its meter for as long as it runs.
func (c *Command) attachTransient(ctx context.Context, vm vmmap.Domain, share attach.Share) error {
	if !c.Live || c.DryRun {
		return fmt.Errorf("%w: add the share to what it is created from, or plug it in for as long as it runs with --live", vmmap.ErrTransient)
	}
	if err := c.Tree.await(ctx, share.Source, vm.UUID); err != nil {
		return fmt.Errorf("the tree: %w", err)
	}
	live, err := c.look(vm)
	if err != nil {
		return err
	}
	if live.Share != "" {
		c.say(vm, "it has the meter, by %s", live.Share)
		return nil
	}
	if share.Type == attach.Auto {
		share.Type = attach.Virtiofs
	}
	if err := c.plug(vm, live, share); err != nil {
		return fmt.Errorf("not plugged in: %w", err)
	}
	c.attached[share.Type]++
	c.say(vm, "plugged in by %s, until it stops: %s", share.Type, share.Source)
	return nil
}

// plug gives a VM that runs the share, where that can be.
func (c *Command) plug(vm vmmap.Domain, live attach.View, share attach.Share) error {
	switch {
	case share.Type == attach.NineP:
		return errors.New("9p cannot be plugged into a VM that runs")
	case !live.MemoryShared:
		return errors.New("it runs with memory that is not shared, and that is decided at its start")
	}
	return c.Libvirt.Plug(vm.UUID, share.Device())
}

// define hands the definition to libvirt, which judges it. Where it refuses virtiofs and the type is ours to choose, it is
// asked with 9p.
func (c *Command) define(document []byte, share attach.Share, r attach.Result) (attach.Result, error) {
	if !r.Changed {
		return r, nil
	}
	err := c.Libvirt.Define(string(r.Document))
	if err == nil || share.Type != attach.Auto || r.Type != attach.Virtiofs {
		return r, wrap("libvirt does not take the definition", err)
	}
	share.NoVirtiofs = err.Error()
	second, secondErr := attach.Attach(document, share)
	if secondErr == nil {
		secondErr = c.Libvirt.Define(string(second.Document))
	}
	if secondErr != nil {
		return r, fmt.Errorf("libvirt does not take the definition: by virtiofs: %w; by 9p: %w", err, secondErr)
	}
	return second, nil
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (c *Command) detachOne(ctx context.Context, vm vmmap.Domain) error {
	switch err := c.undefine(vm); {
	case errors.Is(err, vmmap.ErrTransient) && c.Live && !c.DryRun:
	case errors.Is(err, vmmap.ErrTransient):
		return fmt.Errorf("%w: what it has now can be taken out with --live", err)
	case err != nil:
		return err
	}
	if !running(vm) || c.DryRun {
		return nil
	}
	return c.detachLive(ctx, vm)
}

// undefine takes the meter out of a definition.
func (c *Command) undefine(vm vmmap.Domain) error {
	document, err := c.Libvirt.Definition(vm.UUID, !c.DryRun)
	if err != nil {
		return err
	}
	r, err := attach.Detach([]byte(document))
	if err != nil {
		return err
	}
	switch {
	case c.DryRun:
		fmt.Fprint(c.Out, attach.Diff(printable(vm.Name), []byte(document), r.Document))
	case r.Changed:
		if err := c.Libvirt.Define(string(r.Document)); err != nil {
			return wrap("libvirt does not take the definition", err)
		}
	}
	c.tellDetached(vm, r)
	return nil
}

// detachLive takes the share out of a VM that runs, if that was asked for and can be.
func (c *Command) detachLive(ctx context.Context, vm vmmap.Domain) error {
	live, err := c.look(vm)
	if err != nil || live.Share == "" {
		return err
	}
	const stop = "it has it until it is stopped"
	if !c.Live {
		c.note("it runs: %s", stop)
		return nil
	}
	if live.Share == attach.NineP {
		return errors.New("not taken out: 9p cannot be taken out of a VM that runs: " + stop)
	}
	if err := c.Libvirt.Unplug(vm.UUID, live.Device); err != nil {
		return fmt.Errorf("not taken out: %w: %s", err, stop)
	}
	ctx, cancel := context.WithTimeout(ctx, unplugging)
	defer cancel()
	poll := time.NewTicker(unplugging / 50)
	defer poll.Stop()
	for {
		if live, err = c.look(vm); err != nil {
			return err
		}
		if live.Share == "" {
			c.say(vm, "the meter is taken out of the VM that runs")
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return errors.New("the guest has not given the meter back yet: unmount it there; " + stop)
		}
	}
}

// unplugging is how long a guest is waited for that is to give a device back.
const unplugging = 10 * time.Second

func (c *Command) look(vm vmmap.Domain) (attach.View, error) {
	document, err := c.Libvirt.Live(vm.UUID)
	if err != nil {
		return attach.View{}, err
	}
	return attach.Look([]byte(document))
}
