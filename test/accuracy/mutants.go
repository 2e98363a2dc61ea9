package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A mutant is the product with one mistake in it: in file, old is replaced by new. That old stands there exactly once
// is checked, so a mutant cannot outlive the code that it is about.
type mutant struct {
	name     string
	in       string // the scenario that shows it, twoPackages where not told
	file     string
	old, new string
}

// mutants are mistakes that meters really make.
func mutants() []mutant {
	return []mutant{
		{
			name: "wrap ignored", file: "internal/energy/delta.go",
			old: "step = wrapped(prev, cur, rng, unit)",
			new: "step = Step{Outcome: Wrapped, Energy: cur}",
		},
		{
			name: "power taken for energy", file: "internal/meter/zones.go",
			old: "m.ledger.Settle(z.index, e, ",
			new: "m.ledger.Settle(z.index, energy.Microjoules(1e6*z.power), ",
		},
		{
			name: "leader thread only", file: "internal/proc/dir.go",
			old: "func (d *Dir) OpenStat(pid int32) (fd int, err error) {\n\td.below(pid, \"stat\")\n",
			new: "func (d *Dir) OpenStat(pid int32) (fd int, err error) {\n\td.below(pid, fmt.Sprintf(\"task/%d/stat\", pid))\n",
		},
		{
			name: "previous window's CPU", file: "internal/meter/tick.go",
			old: "\t\tm.charge(now)\n\t\tm.compareMirrors()\n\t\tfor _, z := range m.zones {\n\t\t\tm.settle(z, at)\n\t\t}\n",
			new: "\t\tm.compareMirrors()\n\t\tfor _, z := range m.zones {\n\t\t\tm.settle(z, at)\n\t\t}\n\t\tm.charge(now)\n",
		},
		{
			name: "name-keyed ledger", file: "internal/meter/machines.go",
			old: "a := ms.byUUID[uuid]\n",
			new: "for _, vm := range ms.current.VMs {\n\t\tif vm.UUID == uuid {\n\t\t\tuuid, _, _ = strings.Cut(vm.Name, \" (\") // the name that was asked for\n\t\t}\n\t}\n\ta := ms.byUUID[uuid]\n",
		},
		{
			name: "double discount in the guest", in: guestAlone, file: "internal/app/app.go",
			old: "a.meter.MaxPower = func(energy.Kind) energy.Watts { return rapl.MaxPlatformPower }",
			new: "a.meter.MaxPower = func(energy.Kind) energy.Watts { return rapl.MaxPlatformPower }\n\t\ta.meter.Idle = ledger.None",
		},
		{
			name: "unseen spread over survivors", file: "internal/meter/processes.go",
			old: "\tm.ledger.Charge(ledger.Unseen, m.sample.Unseen)\n",
			new: "",
		},
		{
			name: "gap forgotten at a restart", in: killedOnce, file: "internal/meter/restore_zones.go",
			old: "z.known, z.raw, z.movedAt = old.known, old.raw, old.movedAt",
			new: "z.known = false",
		},
	}
}

// build builds a program from the source tree at top.
func build(ctx context.Context, top, to, pkg string, flags ...string) error {
	args := append([]string{"build", "-tags", "libvirt_dlopen", "-o", to}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// build builds the mutant.
func (m mutant) build(ctx context.Context, top, dir string) (meter, error) {
	base, err := m.overlay(top, dir)
	if err != nil {
		return meter{}, err
	}
	made := meter{name: m.name, path: base, args: hostArgs}
	pkg := "./cmd/scaph-host"
	if m.in == guestAlone {
		pkg, made.args = "./cmd/scaph-guest", guestArgs
	}
	if err := build(ctx, top, made.path, pkg, "-overlay", base+".json"); err != nil {
		return meter{}, fmt.Errorf("mutant %q: %w", m.name, err)
	}
	return made, nil
}

// overlay writes what the go command needs to build the mutant while the source tree stays as it is: base.json, for
// its flag -overlay. It returns base, a path in dir.
func (m mutant) overlay(top, dir string) (base string, err error) {
	original := filepath.Join(top, m.file)
	text, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("mutant %q: %w", m.name, err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return "", fmt.Errorf("mutant %q: %s has its text %d times, not once; mend the mutant:\n%s", m.name, m.file, n, m.old)
	}
	base = filepath.Join(dir, strings.Map(letters, m.name))
	mutated := base + ".go"
	if err := os.WriteFile(mutated, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
	if err != nil {
		return "", err
	}
	return base, os.WriteFile(base+".json", replace, 0o600)
}

func letters(r rune) rune {
	if r >= 'a' && r <= 'z' {
		return r
	}
	return '-'
}
