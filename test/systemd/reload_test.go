package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scaph/scaph/test/wait"
)

// TestReloadUnderTheUnitsRights asks the service, which may not mount, for what takes that right: it is refused, and a reader in the
// tree notices neither that nor what is granted.
func TestReloadUnderTheUnitsRights(t *testing.T) {
	g, m := newGround(t), newManager(t)
	mount, serve := g.commands(built.bin)
	m.pre(mount...)
	p := m.start(serve...)
	wait.Until(t, "the machine's directory", within, func() bool { return exists(g.vm) })
	stop := startReader(t, g.vm)
	good := readText(g.config)
	inStore := []string{"scaph-fuse", "scaph-fuse-state"}
	reload := func(config, want string) {
		t.Helper()
		write(t, g.config, config, 0o644)
		before := strings.Count(p.log.String(), want)
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		wait.Until(t, want, within, func() bool { return strings.Count(p.log.String(), want) > before })
		wait.Until(t, "a new value", within, func() bool { return changed(g.vm) })
		if names := m.Names(); !slices.Equal(names, inStore) {
			t.Errorf("in the store: %v", names)
		}
	}
	const refused = `the old one goes on" error="`
	reload(strings.Replace(good, g.tree, g.tree+"2", 1), refused+"tree.path: ")
	reload(strings.Replace(good, "enabled: true, path", "enabled: auto, path", 1)+"log: {level: debug}\n", `reloaded" changes="[tree.enabled log.level]`)
	reload(strings.Replace(good, g.tree, g.tree+"2", 1), refused+"tree.path: ")
	reload(strings.Replace(good, "enabled: true, path", "enabled: false, path", 1), refused+"tree.enabled: ")
	reload(strings.Replace(good, "owner: root", "owner: nosuchgroup", 1), refused+"tree.owner: ")
	reload(strings.Replace(good, "owner: root", "owner: 7", 1), `reloaded" changes="[tree.`)
	counter := filepath.Join(g.vm, "intel-rapl:0/energy_uj")
	if info, err := os.Stat(counter); err != nil || info.Sys().(*syscall.Stat_t).Gid != 7 {
		t.Errorf("the counter's group: %+v, %v", info, err)
	}
	reload(good, `reloaded" changes=[tree.owner]`)
	stop()

	// A tree that is to be no more is taken away before the next start, by who may.
	p.end(syscall.SIGTERM)
	write(t, g.config, strings.Replace(good, "enabled: true, path", "enabled: false, path", 1), 0o644)
	m.pre(mount...)
	if names := m.Names(); names != nil || mounts(t, g.tree) != nil {
		t.Errorf("in the store: %v; mounted: %v", names, mounts(t, g.tree))
	}
}

// TestReloadMovesTheTree has all rights: the tree moves, goes and comes.
func TestReloadMovesTheTree(t *testing.T) {
	g, m := newGround(t), newManager(t)
	host := filepath.Join(built.bin, "scaph-host")
	p := m.start(host, "run", "--config", g.config)
	wait.Until(t, "the machine's directory", within, func() bool { return exists(g.vm) })
	good := readText(g.config)
	for _, step := range []struct{ config, at string }{
		{strings.Replace(good, g.tree, g.tree+"2", 1), g.tree + "2"},
		{strings.Replace(good, "enabled: true, path", "enabled: false, path", 1), ""},
		{good, g.tree},
	} {
		write(t, g.config, step.config, 0o644)
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{g.tree, g.tree + "2"} {
			vm := filepath.Join(path, filepath.Base(g.vm))
			wait.Until(t, fmt.Sprintf("%q", step.at), within, func() bool { return (mounts(t, path) != nil) == (path == step.at) })
			if path == step.at {
				wait.Until(t, "a new value", within, func() bool { return changed(vm) })
			}
		}
		kept := 0
		if step.at != "" {
			kept = 2
		}
		wait.Until(t, fmt.Sprintf("%d descriptors in the store", kept), within, func() bool { return len(m.Names()) == kept })
	}
	p.end(syscall.SIGTERM)
	if out, code := command(t, nil, host, "unmount", "--config", g.config); code != 0 {
		t.Error(out)
	}
}

// TestRestarts has systemd start what failed again, unless it is a mistake in the configuration.
func TestRestarts(t *testing.T) {
	const service = "scaph-host"
	dir := machineDir(t)
	config := filepath.Join(dir, "scaph-host.yaml")
	good := fmt.Sprintf("sensor: {powercap: %s/powercap}\nlibvirt: {enabled: false}\nweb: {listen: []}\nprometheus: {enabled: false}\n", dir)
	write(t, filepath.Join(dir, "units/scaph-host.service"), machineUnit(t, "scaph-host.service", dir), 0o644)
	write(t, config, good+"nonsense: true\n", 0o644)
	m := bootMachine(t, dir)
	show := func(property string) string {
		return m.must("systemctl", "show", "--value", "--property="+property, service)
	}
	if out, err := m.run("systemctl", "start", service); err == nil {
		t.Errorf("a mistake in the configuration: %s", out)
	}
	if got := show("ActiveState") + show("ExecMainStatus") + show("NRestarts"); got != "failed"+"2"+"0" {
		t.Errorf("state, exit code, restarts: %s", got)
	}

	write(t, config, strings.Replace(good, "/powercap}", "/nothing}", 1), 0o644) // the sensor may come later
	if out, err := m.run("systemctl", "start", service); err == nil {
		t.Errorf("no sensor: %s", out)
	}
	wait.Until(t, "another start", within, func() bool { return show("NRestarts") != "0" })
	began := time.Now()
	write(t, config, good, 0o644)
	wait.Until(t, "the service runs", within, func() bool { return m.mainPID(service) != "" })
	t.Logf("it runs %v after the sensor came", time.Since(began))
	if got := show("MemoryMax"); got != fmt.Sprint(512<<20) {
		t.Errorf("MemoryMax=%s", got)
	}
	m.must("systemctl", "stop", service)
}
