//go:build lab

package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/test/wait"
)

// A rapl is the simulated RAPL, running, and the sysfs that it is part of.
type rapl struct {
	sysfs   string
	control string // URL of its control server
}

// truth is what a counter really counted, in µJ since the start of the plant.
type truth struct {
	Name     string
	Energy   uint64
	LastRead uint64 `json:"last_read"`
	Wraps    uint64
}

// startRAPL starts the plant, frozen, so that the first tick of whoever reads it sees exactly 0.
func startRAPL(t *testing.T) *rapl {
	t.Helper()
	sysfs := sysfsWithoutRAPL(t)
	mountPoint := filepath.Join(sysfs, "class", "powercap")
	if err := os.Mkdir(mountPoint, 0o755); err != nil {
		t.Fatal(err)
	}
	d := start(t, "plant-"+filepath.Base(sysfs), filepath.Join(built.logs, "plant"), "-mount", mountPoint, "-frozen", "-lead", "200")
	var address string
	wait.Until(t, "the simulated RAPL is mounted", 10*time.Second, func() bool {
		log, err := os.Open(d.log)
		if err != nil {
			return false
		}
		defer log.Close()
		line, err := bufio.NewReader(log).ReadString('\n')
		address = strings.TrimSpace(line)
		return err == nil
	})
	return &rapl{sysfs: sysfs, control: "http://" + address}
}

// sysfsWithoutRAPL gives a directory that looks like this machine's /sys, without powercap.
func sysfsWithoutRAPL(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(built.logs, "sys-")
	if err != nil {
		t.Fatal(err)
	}
	mirror := func(part string, but string) {
		entries, err := os.ReadDir(filepath.Join("/sys", part))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() == but {
				continue
			}
			if err := os.Symlink(filepath.Join("/sys", part, e.Name()), filepath.Join(dir, part, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	mirror("", "class")
	if err := os.Mkdir(filepath.Join(dir, "class"), 0o755); err != nil {
		t.Fatal(err)
	}
	mirror("class", "powercap")
	return dir
}

func (r *rapl) freeze(t *testing.T) { t.Helper(); r.post(t, "freeze") }
func (r *rapl) resume(t *testing.T) { t.Helper(); r.post(t, "resume") }

func (r *rapl) post(t *testing.T, what string) {
	t.Helper()
	resp, err := http.Post(r.control+"/"+what, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("plant: %s: %s", what, resp.Status)
	}
}

// truth gives what each zone counted, by its powercap id.
func (r *rapl) truth(ctx context.Context) (map[string]truth, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.control+"/truth", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	all := map[string]truth{}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return nil, fmt.Errorf("plant: truth: %w", err)
	}
	return all, nil
}
