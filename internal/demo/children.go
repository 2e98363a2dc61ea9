package demo

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/rapl"
	"github.com/scaph/scaph/internal/vmmap"
)

// children are processes of the demonstration; they end with its context, or with us.
type children []*exec.Cmd

func (c children) wait() {
	for _, cmd := range c {
		_ = cmd.Wait() // they are killed, which is how they end
	}
}

// child is this program again, with a hidden command.
func child(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

// startStandIns starts a process for each stand-in and gives the map that takes them for virtual machines.
func startStandIns(ctx context.Context, procfs string) (children, fixedMap, error) {
	var started children
	var vms []vmmap.VM
	dir := proc.NewDir(proc.Kernel{}, procfs)
	if err := dir.Open(); err != nil {
		return nil, fixedMap{}, err
	}
	defer dir.Close()
	for i, s := range standIns {
		cmd, err := child(ctx, "demo", "stand-in", strconv.Itoa(s.duty))
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return started, fixedMap{}, fmt.Errorf("start a stand-in: %w", err)
		}
		started = append(started, cmd)
		stat, err := dir.Stat(int32(cmd.Process.Pid))
		if err != nil {
			return started, fixedMap{}, fmt.Errorf("read the start time of a stand-in: %w", err)
		}
		vms = append(vms, vmmap.VM{
			UUID: fmt.Sprintf("%08d-0000-4000-8000-000000000000", i+1), Name: s.name, VCPUs: 1,
			State: vmmap.Running, Source: "stand-in",
			Process: stat.ID,
		})
	}
	return started, fixedMap{vmmap.NewMap(vms, "stand-ins of the demonstration")}, nil
}

// standInCommand keeps one CPU busy for a part of the time.
func standInCommand() *cobra.Command {
	return &cobra.Command{
		Use: "stand-in PERCENT", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			duty, err := strconv.Atoi(args[0])
			if err != nil {
				return err
			}
			runtime.LockOSThread()
			const period = 50 * time.Millisecond
			ticker := time.NewTicker(period)
			defer ticker.Stop()
			for {
				for until := time.Now().Add(period * time.Duration(duty) / 100); time.Now().Before(until); {
				}
				select {
				case <-ticker.C:
				case <-cmd.Context().Done():
					return nil
				}
			}
		},
	}
}

// guestReadingCommand reads a meter once a second, as a guest does that has it mounted, and prints it in µJ. It is a
// process of its own: whoever serves a FUSE mount must not read it.
func guestReadingCommand() *cobra.Command {
	return &cobra.Command{
		Use: "guest-reading DIRECTORY", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			reader, err := rapl.Open(args[0])
			if err != nil {
				return err
			}
			defer reader.Close()
			ticker := time.NewTicker(time.Second)
			defer ticker.Stop()
			readings := make([]energy.Reading, len(reader.Zones()))
			for {
				reader.Read(readings)
				for i, z := range reader.Zones() {
					if z.Kind == energy.Package && readings[i].Err == nil {
						fmt.Fprintln(cmd.OutOrStdout(), uint64(readings[i].Energy))
					}
				}
				select {
				case <-ticker.C:
				case <-cmd.Context().Done():
					return nil
				}
			}
		},
	}
}

// A guest is the reading side of the demonstration.
type guest struct {
	dir     string
	missing string // why there is none

	mu   sync.Mutex // guards last
	last string
}

// run keeps a reading process going.
func (g *guest) run(ctx context.Context) error {
	retry := time.NewTicker(500 * time.Millisecond) // the directory appears with the first publish
	defer retry.Stop()
	for ctx.Err() == nil {
		if err := g.read(ctx); err != nil {
			return err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
		}
	}
	return nil
}

func (g *guest) read(ctx context.Context) error {
	cmd, err := child(ctx, "demo", "guest-reading", g.dir)
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		g.mu.Lock()
		g.last = lines.Text()
		g.mu.Unlock()
	}
	_ = cmd.Wait() // killed at the end, or the directory is not there yet: run tries again
	return nil
}

// line says what the guest read last.
func (g *guest) line() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.missing != "":
		return "no tree here, so nothing to read for it: " + g.missing
	case g.last == "":
		return "waiting for its first reading"
	}
	return fmt.Sprintf("%q reads %s µJ from %s", standIns[0].name, g.last, filepath.Join(g.dir, "intel-rapl:0/energy_uj"))
}
