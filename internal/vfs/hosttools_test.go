package vfs

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/test/rights"
)

// unserved makes a mount that is held and not served, as the service manager holds it while the service does not run.
func unserved(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tree")
	s, err := Mount(NewTree("test", 0), options(t, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return path
}

// TestDfWhileNobodyServes runs df with the option that docs/operator.md recommends, and without.
func TestDfWhileNobodyServes(t *testing.T) {
	path := unserved(t)
	for _, c := range []struct {
		args  []string
		hangs bool
	}{
		{[]string{path}, true},
		{[]string{"--exclude-type=" + mountType}, false},
	} {
		timeout := 20 * time.Second
		if c.hangs {
			timeout = 500 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		out, _ := exec.CommandContext(ctx, "df", c.args...).CombinedOutput() // it fails if anybody's mount is stale
		hung := errors.Is(ctx.Err(), context.DeadlineExceeded)
		cancel()
		if hung != c.hangs || (!hung && (!strings.Contains(string(out), "Filesystem") || strings.Contains(string(out), path))) {
			t.Errorf("df %s: hangs: %v, want %v\n%s", strings.Join(c.args, " "), hung, c.hangs, out)
		}
	}
}

// fsTypesExclude is the regular expression of docs/operator.md: node_exporter's default, and our type.
const fsTypesExclude = `^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fuse\.scaph|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|` +
	`proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs)$`

// TestNodeExporterWhileNobodyServes scrapes a node_exporter that has its collector of file systems on.
func TestNodeExporterWhileNobodyServes(t *testing.T) {
	const program = "prometheus-node-exporter"
	rights.Require(t, rights.Program(program, program))
	if !strings.Contains(readFile(t, "../../docs/operator.md"), "--collector.filesystem.fs-types-exclude='"+fsTypesExclude+"'") {
		t.Error("docs/operator.md recommends something else than what is tested here")
	}
	path := unserved(t)
	for _, c := range []struct {
		options []string
		timeout time.Duration
		hangs   bool
	}{
		{[]string{"--collector.filesystem.fs-types-exclude=" + fsTypesExclude}, 20 * time.Second, false},
		{nil, 2 * time.Second, true},
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		listener.Close()
		cmd := exec.CommandContext(t.Context(), program, append(c.options, "--collector.disable-defaults", "--collector.filesystem",
			// By default it passes over the places where a test may mount something, on some machines.
			"--collector.filesystem.mount-points-exclude=^/nowhere$", "--web.listen-address="+address)...)
		cmd.Stderr = t.Output()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		client := http.Client{Timeout: c.timeout}
		poll(t, "answer of node_exporter", func() bool {
			response, err := client.Get("http://" + address + "/")
			if err == nil {
				response.Body.Close()
			}
			return err == nil
		})
		page, err := get(client, "http://"+address+"/metrics")
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		var slow net.Error
		switch hung := errors.As(err, &slow) && slow.Timeout(); {
		case hung != c.hangs:
			t.Errorf("%q: hangs: %v, want %v; %v", c.options, hung, c.hangs, err)
		case !hung && (!strings.Contains(page, `node_scrape_collector_success{collector="filesystem"} 1`) || strings.Contains(page, path)):
			t.Errorf("%q:\n%s", c.options, page)
		}
	}
}

func get(client http.Client, url string) (string, error) {
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}
