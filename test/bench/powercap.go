package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The simulated counters: of one package with its cores and its memory.
var simulatedZones = []struct {
	path, name string
	watts      int64
}{
	{"intel-rapl:0", "package-0", 40},
	{"intel-rapl:0/intel-rapl:0:0", "core", 30},
	{"intel-rapl:0/intel-rapl:0:1", "dram", 5},
}

// firstEnergy is what they show at first, in µJ: with so many digits that none is added before they wrap.
const firstEnergy = 100_000_000_000

// A powercap is a directory of counters as the kernel has them, in plain files.
type powercap struct {
	dir   string
	files []*os.File
	begin time.Time
}

func newPowercap(dir string) (*powercap, error) {
	p := &powercap{dir: dir, begin: time.Now()}
	for _, z := range simulatedZones {
		zone := filepath.Join(dir, z.path)
		if err := os.MkdirAll(zone, 0o755); err != nil {
			return nil, err
		}
		for name, text := range map[string]string{"name": z.name, "max_energy_range_uj": "262143328850", "enabled": "1"} {
			if err := os.WriteFile(filepath.Join(zone, name), []byte(text+"\n"), 0o644); err != nil {
				return nil, err
			}
		}
		f, err := os.Create(filepath.Join(zone, "energy_uj"))
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, f)
	}
	return p, p.move()
}

// move brings the counters up to date.
func (p *powercap) move() error {
	elapsed := time.Since(p.begin).Microseconds()
	for i, f := range p.files {
		if _, err := f.WriteAt(fmt.Appendf(nil, "%d\n", firstEnergy+elapsed*simulatedZones[i].watts), 0); err != nil {
			return fmt.Errorf("move a simulated counter: %w", err)
		}
	}
	return nil
}

// run keeps the counters moving until ctx is done.
func (p *powercap) run(ctx context.Context) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := p.move(); err != nil {
				return err
			}
		case <-ctx.Done():
			return p.close()
		}
	}
}

func (p *powercap) close() error {
	var errs []error
	for _, f := range p.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
