//go:build lab

package lab

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A meter is scaph-host at work.
type meter struct {
	*daemon
	tree    string
	address string
	config  string
}

func (m *meter) metricsURL() string { return "http://" + m.address + "/metrics" }

// configTemplate leaves to the defaults whatever the lab does not depend on. The quantum of 1 µJ
// lets the tree's values be compared with the metrics exactly; the idle floor is the plant's own.
const configTemplate = `interval: 1s
host: {sysfs: %s}
attribution: {idle: shared, idle_watts: {"intel-rapl:0": 3, "intel-rapl:0:0": 1, "intel-rapl:0:1": 0.7}}
libvirt: {enabled: true}
tree: {enabled: true, path: %s, publish: {profile: trusted, interval: 1s, quantum: 1uJ}}
state: {run: %s, lib: %s}
prometheus: {enabled: true, listen: "%s"}
`

// newMeter lays out what scaph-host needs on the simulated RAPL. Its tree lies where libvirt's own
// files do, because every user that qemu runs as can go there.
func newMeter(t *testing.T, r *rapl) *meter {
	t.Helper()
	tree, err := os.MkdirTemp("/var/lib/libvirt", "scaphandre-lab-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeTree(t, tree) })
	if err := os.Chmod(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	m := &meter{
		tree: tree, address: fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		config: filepath.Join(built.logs, "lab.yaml"),
	}
	state := filepath.Join(built.logs, "state")
	text := fmt.Sprintf(configTemplate, r.sysfs, tree, filepath.Join(state, "run"), filepath.Join(state, "lib"), m.address)
	if err := os.WriteFile(m.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return m
}

// start starts scaph-host, for the first time or again, and waits until it is ready.
func (m *meter) start(t *testing.T) {
	t.Helper()
	m.daemon = start(t, "scaph-host", host(), "run", "--config", m.config)
	await(t, "scaph-host is ready", 20*time.Second, func() bool {
		if m.ended() {
			text, _ := os.ReadFile(m.log)
			t.Fatalf("scaph-host ended by itself:\n%s", text)
		}
		resp, err := http.Get("http://" + m.address + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// removeTree removes the mount point; that something is still mounted there is an error.
func removeTree(t *testing.T, path string) {
	t.Helper()
	err := os.Remove(path)
	if err == nil {
		return
	}
	t.Errorf("after the end of scaph-host: %v", err)
	if code, _, stderr := command(t, "umount", "-l", path); code != 0 {
		t.Error(stderr)
	}
	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
}
