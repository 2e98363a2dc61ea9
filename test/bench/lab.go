package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// The populations. What else runs on the machine comes on top, and is counted.
const (
	idleFew      = 1_000
	idleMany     = 10_000
	machinesFew  = 50
	machinesMany = 200
	machinesMost = 500
)

// How often is measured. Scans take turns with ticks, so that both see the same machine.
const (
	ticks     = 60
	scans     = 12
	scrapes   = 25
	warmTicks = 12
)

// A lab is a machine full of processes, and the products that meter it.
type lab struct {
	dirs     *dirs
	crowds   crowdMaker
	started  []*crowd
	powercap string
	moving   *errgroup.Group // keeps the counters moving
	halt     context.CancelFunc

	hosts []*product // by source: bpf, procfs
	guest *product
}

func newLab(ctx context.Context) (_ *lab, err error) {
	dirs, err := newDirs()
	if err != nil {
		return nil, err
	}
	l := &lab{dirs: dirs, powercap: filepath.Join(dirs.disk, "powercap")}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.crowds, err = newCrowdMaker(ctx, dirs.disk); err != nil {
		return nil, err
	}
	counters, err := newPowercap(l.powercap)
	if err != nil {
		return nil, err
	}
	running, halt := context.WithCancel(context.WithoutCancel(ctx))
	l.moving, l.halt = new(errgroup.Group), halt
	l.moving.Go(func() error { return counters.run(running) })

	if err := l.join(l.crowds.idle(idleFew)); err != nil {
		return nil, err
	}
	if err := l.join(l.crowds.machines(machinesFew, 0)); err != nil {
		return nil, err
	}
	for _, source := range []string{"bpf", "procfs"} {
		p, err := startHost(ctx, dirs, l.powercap, source)
		if err != nil {
			return nil, err
		}
		l.hosts = append(l.hosts, p)
	}
	l.guest, err = startGuest(ctx, dirs, l.powercap)
	return l, err
}

// join adds processes to the machine.
func (l *lab) join(c *crowd, err error) error {
	if err == nil {
		l.started = append(l.started, c)
	}
	return err
}

// close ends everything that was started.
func (l *lab) close() error {
	var errs []error
	for _, p := range append(l.hosts, l.guest) {
		if p != nil {
			errs = append(errs, p.stop())
		}
	}
	for _, c := range l.started {
		errs = append(errs, c.Close())
	}
	if l.halt != nil {
		l.halt()
		errs = append(errs, l.moving.Wait())
	}
	return errors.Join(append(errs, l.dirs.remove())...)
}

// A population is what was measured with one number of processes.
type population struct {
	processes int // as the scan counted them
	scan      figure
	host      []figure // by source: µs of each tick
	guest     []size
}

// A measurement is all that a lab gives.
type measurement struct {
	few, many population
	host      [][]size // by source, with the many machines
	plain     []answer // scrapes with the most machines
	gzip      []answer
	guestSize int64
}

func (l *lab) measure(ctx context.Context) (m measurement, err error) {
	info, err := os.Stat("bin/scaph-guest")
	if err != nil {
		return m, fmt.Errorf("%w: run make build", err)
	}
	m.guestSize = info.Size()
	if m.few, err = l.measureTicks(ctx, machinesFew); err != nil {
		return m, err
	}
	if err := l.join(l.crowds.idle(idleMany - idleFew)); err != nil {
		return m, err
	}
	further := len(l.started) - 1
	if m.many, err = l.measureTicks(ctx, machinesFew); err != nil {
		return m, err
	}

	if err := l.join(l.crowds.machines(machinesMany-machinesFew, machinesFew)); err != nil {
		return m, err
	}
	if m.host, err = l.measureMemory(ctx); err != nil {
		return m, err
	}

	if err := l.started[further].Close(); err != nil {
		return m, err
	}
	l.started = append(l.started[:further], l.started[further+1:]...)
	if err := l.join(l.crowds.machines(machinesMost-machinesMany, machinesMany)); err != nil {
		return m, err
	}
	host := l.hosts[0]
	if err := host.await(ctx, machinesMost); err != nil {
		return m, err
	}
	if m.plain, err = newScraper(host, false).fresh(ctx, scrapes); err != nil {
		return m, err
	}
	m.gzip, err = newScraper(host, true).fresh(ctx, scrapes)
	return m, err
}

// measureTicks measures ticks and scans side by side, when all products know the processes and the machines.
func (l *lab) measureTicks(ctx context.Context, machines int) (p population, err error) {
	for _, host := range l.hosts {
		if err := host.await(ctx, machines); err != nil {
			return p, err
		}
		if _, err := host.costs(warmTicks); err != nil {
			return p, err
		}
	}
	p.host = make([]figure, len(l.hosts))
	var g errgroup.Group
	for i, host := range l.hosts {
		g.Go(func() (err error) {
			p.host[i], err = host.costs(ticks)
			return err
		})
	}
	ticker := time.NewTicker(ticks * interval / scans)
	defer ticker.Stop()
	for range scans {
		processes, cost, err := scan()
		if err != nil {
			return p, errors.Join(err, g.Wait())
		}
		p.processes = processes
		p.scan = append(p.scan, cost)
		<-ticker.C
	}
	if err := g.Wait(); err != nil {
		return p, err
	}
	guest, err := l.guest.memory()
	p.guest = []size{guest}
	return p, err
}

// measureMemory gives the memory of each host when it knows all, has looked at all a few times, and has been scraped.
func (l *lab) measureMemory(ctx context.Context) ([][]size, error) {
	var all [][]size
	for _, host := range l.hosts {
		if err := host.await(ctx, machinesMany); err != nil {
			return nil, err
		}
		s := newScraper(host, true)
		var sizes []size
		for range 10 {
			if _, err := s.fresh(ctx, 1); err != nil {
				return nil, err
			}
			now, err := host.memory()
			if err != nil {
				return nil, err
			}
			sizes = append(sizes, now)
		}
		all = append(all, sizes)
	}
	return all, nil
}
