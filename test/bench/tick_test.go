package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/cputime/bpf"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/ledger"
	"github.com/scaph/scaph/internal/meter"
	"github.com/scaph/scaph/internal/proc"
	"github.com/scaph/scaph/internal/rapl"
	"github.com/scaph/scaph/internal/state"
	"github.com/scaph/scaph/internal/vmmap"
	"github.com/scaph/scaph/test/rights"
)

// BenchmarkTick makes whole ticks with the real sources on the real /proc, with few and with many processes.
func BenchmarkTick(b *testing.B) {
	rights.Require(b, rights.Root)
	crowds, err := newCrowdMaker(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for _, source := range []string{"bpf", "procfs"} {
		for _, n := range []struct{ idle, machines int }{{0, 0}, {idleFew, machinesFew}} {
			b.Run(fmt.Sprintf("source=%s/idle=%d/machines=%d", source, n.idle, n.machines), func(b *testing.B) {
				benchmarkTick(b, crowds, source, n.idle, n.machines)
			})
		}
	}
}

func benchmarkTick(b *testing.B, crowds crowdMaker, source string, idle, machines int) {
	attend(b)(crowds.idle(idle))
	attend(b)(crowds.machines(machines, 0))
	dirs, err := newDirs()
	if err != nil {
		b.Fatal(err)
	}
	closeLater(b, dirs.remove)
	counters, err := newPowercap(filepath.Join(dirs.disk, "powercap"))
	if err != nil {
		b.Fatal(err)
	}
	closeLater(b, counters.close)
	m := newMeter(b, dirs, source)
	m.Tick()
	m.Tick()
	b.ReportAllocs()
	for b.Loop() {
		if err := counters.move(); err != nil {
			b.Fatal(err)
		}
		m.Tick()
	}
	if s := m.Latest(); len(s.VMs) < machines || s.Zones[0].Total == 0 || s.LedgerError != 0 {
		b.Errorf("%d machines, %d µJ, ledger error %d", len(s.VMs), s.Zones[0].Total, s.LedgerError)
	}
}

// attend ends a crowd with the benchmark.
func attend(b *testing.B) func(*crowd, error) {
	return func(c *crowd, err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
		closeLater(b, c.Close)
	}
}

// newMeter puts a meter together as the service does.
func newMeter(b *testing.B, dirs *dirs, source string) *meter.Meter {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	sensor, err := rapl.Open(filepath.Join(dirs.disk, "powercap"), rapl.WithLogger(log))
	if err != nil {
		b.Fatal(err)
	}
	closeLater(b, sensor.Close)
	cpus, err := cputime.ReadTopology("/sys", "/proc")
	if err != nil {
		b.Fatal(err)
	}
	domains := cputime.NewDomains("/sys", cpus, nil)
	var cpu interface {
		meter.CPUSource
		Close() error
	}
	if source == "bpf" {
		cpu, err = bpf.New("/proc", domains)
	} else {
		cpu, err = cputime.NewProcfs("/proc", domains)
	}
	if err != nil {
		b.Fatal(err)
	}
	closeLater(b, cpu.Close)
	machines := vmmap.New(vmmap.Config{Procfs: "/proc", Runtime: filepath.Join(dirs.disk, "none"), Log: log})
	if err := machines.Refresh(context.Background()); err != nil {
		b.Fatal(err)
	}
	run, err := dirs.run("run")
	if err != nil {
		b.Fatal(err)
	}
	store, err := state.Open(run, filepath.Join(dirs.disk, "lib"))
	if err != nil {
		b.Fatal(err)
	}
	closeLater(b, store.Close)
	m, err := meter.New(meter.Options{
		Sensor: sensor, CPU: cpu, VMs: machines, CPUs: len(cpus),
		DomainOf: func(energy.Zone) int { return 0 },
		MaxPower: rapl.MaxPower,
		Interval: time.Second, Idle: ledger.Shared, Listed: 50,
		BootID: proc.BootID("/proc"), State: store, Clock: meter.SystemClock{}, Log: log,
	})
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func closeLater(b *testing.B, closer func() error) {
	b.Cleanup(func() {
		if err := closer(); err != nil {
			b.Error(err)
		}
	})
}
