//go:build lab

package lab

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/scaph/scaph/test/fdstore"
	"github.com/scaph/scaph/test/wait"
)

// A meter is scaph-host at work.
type meter struct {
	*daemon
	binary  string         // the build that the next start runs
	store   *fdstore.Store // what a service manager keeps for it; nil where there is none
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
web: {listen: ["%s"]}
`

// newMeter lays out what scaph-host needs on the simulated RAPL. Its tree lies where libvirt's own
// files do, because every user that qemu runs as can go there.
func newMeter(t *testing.T, r *rapl) *meter {
	t.Helper()
	store := fdstore.Start(t, t.TempDir())
	tree, err := os.MkdirTemp("/var/lib/libvirt", "scaphandre-lab-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	m := &meter{
		binary: host(), store: store, tree: tree, address: fmt.Sprintf("127.0.0.1:%d", freePort(t)),
		config: filepath.Join(built.logs, "lab.yaml"),
	}
	state, err := os.MkdirTemp(built.logs, "state-") // each meter begins at 0
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(configTemplate, r.sysfs, tree, filepath.Join(state, "run"), filepath.Join(state, "lib"), m.address)
	if err := os.WriteFile(m.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if m.daemon != nil {
			m.stop(t)
		}
		m.removeTree(t)
	})
	return m
}

// start starts scaph-host as a service manager does, for the first time or again, and waits until it
// is ready.
func (m *meter) start(t *testing.T) {
	t.Helper()
	m.begin(t)
	wait.Until(t, "scaph-host is ready", 20*time.Second, func() bool {
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

// begin starts scaph-host and does not wait.
func (m *meter) begin(t *testing.T) {
	t.Helper()
	cmd := fdstore.Command(m.binary, "run", "--config", m.config)
	started := func() {}
	if m.store != nil {
		started, _ = m.store.Hand(cmd)
	}
	m.daemon = launch(t, "scaph-host", cmd)
	started()
}

// removeTree unmounts the tree as the removal of the package does.
func (m *meter) removeTree(t *testing.T) {
	t.Helper()
	if code, stdout, stderr := command(t, host(), "unmount", "--config", m.config); code != 0 {
		t.Errorf("scaph-host unmount exits with %d\n%s%s", code, stdout, stderr)
		_, _, _ = command(t, "umount", "-l", m.tree)
	}
	if err := os.Remove(m.tree); err != nil {
		t.Errorf("after scaph-host unmount: %v", err)
	}
}
