package systemd

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestEachCapabilityIsNeeded takes the host's capabilities away one by one: something fails each time, and
// nothing does with all of them.
func TestEachCapabilityIsNeeded(t *testing.T) {
	g := newGround(t)
	for _, c := range []struct {
		capability string
		works      func(t *testing.T, as []string) bool
	}{
		{"CAP_DAC_READ_SEARCH", g.readsEnergy},
		{"CAP_SYS_PTRACE", g.findsMachine},
		{"CAP_BPF", g.loadsBPF},
		{"CAP_PERFMON", g.loadsBPF},
	} {
		u := unit(t, "scaph-host.service", built.bin, "")
		if !c.works(t, privileges(u)) {
			t.Errorf("%s: does not work with all the unit's capabilities", c.capability)
		}
		if c.works(t, privileges(u, c.capability)) {
			t.Errorf("%s is not needed", c.capability)
		}
	}
}

// readsEnergy tells whether energy_uj, which only root may read, can be read.
func (g *ground) readsEnergy(t *testing.T, as []string) bool {
	out, _ := command(t, nil, append(as, built.bin+"/scaph-host", "check", "--config", g.config)...)
	return strings.Contains(out, "ok    sensor ")
}

// findsMachine tells whether another user's virtual machine is known by its executable.
func (g *ground) findsMachine(t *testing.T, as []string) bool {
	out, code := command(t, nil, append(as, built.bin+"/scaph-host", "vms", "-o", "json", "--log-level", "error", "--config", g.config)...)
	if code != 0 {
		t.Errorf("vms: exit code %d: %s", code, out)
	}
	if !json.Valid([]byte(out)) {
		t.Errorf("vms: %s", out)
	}
	return strings.Contains(out, g.uuid)
}

// loadsBPF tells whether CPU time can be had from BPF.
func (g *ground) loadsBPF(t *testing.T, as []string) bool {
	config := filepath.Join(publicDir(t), "bpf.yaml")
	write(t, config, "cputime: {source: bpf}\nlibvirt: {enabled: false}\ntree: {enabled: false}\n", 0o644)
	out, _ := command(t, nil, append(as, built.bin+"/scaph-host", "check", "--config", config)...)
	return strings.Contains(out, "ok    CPU time     bpf")
}
