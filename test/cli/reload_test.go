package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scaph/scaph/test/metrics"
)

// sections are those of a configuration that works, by name.
func (s *service) sections() map[string]string {
	return map[string]string{
		"interval": "100ms",
		"host":     fmt.Sprintf("{sysfs: %s/sys}", s.dir),
		"libvirt":  "{enabled: false}",
		"tree":     "{enabled: false}",
		"state":    fmt.Sprintf("{run: %[1]s/run, lib: %[1]s/lib}", s.dir),
		"web":      `{listen: ["127.0.0.1:0"]}`,
	}
}

// configureSections writes sections, with others in the place of some.
func (s *service) configureSections(path string, others map[string]string) {
	s.t.Helper()
	sections := s.sections()
	maps.Copy(sections, others)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		fmt.Fprintf(&b, "%s: %s\n", name, sections[name])
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// do runs a command of the program with a configuration.
func do(t *testing.T, config string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(programs, args[0]), append(args[1:], "--config", config)...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// What keeps the service from starting is found by check, which names the key, and changes nothing at a reload: the old
// configuration goes on, at the same address, and it is told and counted.
func TestBrokenConfigurations(t *testing.T) {
	s := newService(t)
	s.start()
	s.awaitHost(0)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(s.dir, "file")
	if err := os.WriteFile(file, []byte("nonsense: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := s.url
	total, refused := 0.0, 0.0
	for _, broken := range []struct {
		name   string
		config map[string]string
		key    string // or another word that the message must have
	}{
		{"no web configuration", map[string]string{"web": `{listen: ["127.0.0.1:0"], config: /nonexistent/web.yml}`}, "web.config"},
		{"web configuration that is none", map[string]string{"web": `{listen: ["127.0.0.1:0"], config: ` + file + `}`}, "web.config"},
		{"address taken", map[string]string{"web": `{listen: ["127.0.0.1:0", "` + taken.Addr().String() + `"]}`}, "web.listen"},
		{"address elsewhere", map[string]string{"web": `{listen: ["192.0.2.1:9110"]}`}, "web.listen"},
		{"address elsewhere, old key", map[string]string{"web": "", "prometheus": `{listen: "192.0.2.1:9110"}`}, "web.listen"},
		{"no such host", map[string]string{"web": `{listen: ["nosuch.invalid:9110"]}`}, "web.listen"},
		{"group", map[string]string{"tree": "{enabled: true, owner: nosuchgroup, path: " + s.dir + "/tree}"}, "tree.owner"},
		{"group of an optional tree", map[string]string{"tree": "{owner: nosuchgroup, path: " + s.dir + "/tree}"}, "tree.owner"},
		{"tree on a file", map[string]string{"tree": "{enabled: true, path: " + file + "}"}, "tree.path"},
		{"tree below a file", map[string]string{"tree": "{enabled: true, path: " + file + "/tree}"}, file + "/tree"},
		{"basis", map[string]string{"sensor": "{basis: psys}"}, "sensor.basis"},
		{"no sensor", map[string]string{"sensor": "{powercap: " + s.dir + "/nothing}"}, "sensor.powercap"},
		{"no sysfs", map[string]string{"host": "{sysfs: /nonexistent}"}, "/nonexistent"},
		{"no procfs", map[string]string{"host": "{procfs: /nonexistent, sysfs: " + s.dir + "/sys}"}, "/nonexistent"},
		{"state on a file", map[string]string{"state": "{run: " + file + ", lib: " + s.dir + "/lib2}"}, "state.run"},
		{"state below a file", map[string]string{"state": "{run: " + s.dir + "/run2, lib: " + file + "/lib}"}, "state.lib"},
		{"key", map[string]string{"sensr": "{basis: package}"}, "sensr"},
		{"value", map[string]string{"interval": "1"}, "interval"},
		{"no YAML", map[string]string{"interval": "{"}, "YAML"},
	} {
		t.Run(broken.name, func(t *testing.T) {
			other := filepath.Join(s.dir, "other.yaml")
			config := maps.Clone(broken.config)
			if config["state"] == "" { // that of the service is taken
				config["state"] = fmt.Sprintf("{run: %[1]s/run3, lib: %[1]s/lib3}", s.dir)
			}
			s.configureSections(other, config)
			if out, code := do(t, other, "scaph-host", "check"); code != 1 && code != 2 || !strings.Contains(out, broken.key) {
				t.Errorf("check: exit code %d:\n%s", code, out)
			}
			if _, err := os.Stat(filepath.Join(s.dir, "run3")); err == nil {
				t.Error("check has left a directory behind")
			}
			if out, code := do(t, other, "scaph-host", "run"); code != 1 && code != 2 || !strings.Contains(out, broken.key) {
				t.Errorf("run: exit code %d:\n%s", code, out)
			}
			if err := os.RemoveAll(filepath.Join(s.dir, "run3")); err != nil {
				t.Fatal(err)
			}

			s.configureSections(s.config, broken.config)
			if out, code := do(t, s.config, "scaph-host", "check"); code != 1 && code != 2 || !strings.Contains(out, broken.key) {
				t.Errorf("check beside the service: exit code %d:\n%s", code, out)
			}
			s.hup()
			refused++
			s.await("count of the refused reload", func() bool { return s.joules("scaph_errors_total", "component", "reload") == refused })
			if !strings.Contains(s.logged(), broken.key) {
				t.Errorf("the log does not name %s:\n%s", broken.key, s.logged())
			}
			s.give(1)
			total += 2
			s.awaitHost(total)
		})
	}
	if s.url != address {
		t.Errorf("the address was %s and is %s", address, s.url)
	}
	// And a good one is taken after all that.
	s.configureSections(s.config, map[string]string{"attribution": "{idle: none}"})
	if out, code := do(t, s.config, "scaph-host", "check"); code != 0 {
		t.Errorf("check of the service's own configuration: exit code %d:\n%s", code, out)
	}
	s.hup()
	s.awaitLog(`(reloaded" changes=\[attribution.idle\])`)
	s.give(1)
	s.awaitHost(total + 2)
}

// Reloads under a scraper: each takes effect, no request is refused and no counter falls, whatever moves.
func TestReloadsUnderAScraper(t *testing.T) {
	s := newService(t)
	s.start()
	s.awaitHost(0)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(free.Addr().String())
	if err == nil {
		err = free.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	s.configureSections(s.config, map[string]string{"web": `{listen: ["127.0.0.1:` + port + `"]}`})
	s.hup()
	s.url = "http://127.0.0.1:" + port
	s.awaitHost(total)
	stop, scraped := make(chan struct{}), make(chan error, 1)
	go func() {
		last, client := -1.0, http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for {
			select {
			case <-stop:
				scraped <- nil
				return
			default:
			}
			now, err := scrapeEnergy(t.Context(), &client, s.url)
			if err == nil && now < last {
				err = fmt.Errorf("the host's counter fell from %v to %v", last, now)
			}
			if err != nil {
				scraped <- err
				return
			}
			last = now
		}
	}()
	for i, config := range []map[string]string{
		{"interval": "200ms"}, {"attribution": "{idle: reserved}"}, {"log": "{level: debug}"}, {"cputime": "{source: procfs}"},
		{"interval": "150ms"},
	} {
		config["web"] = `{listen: ["127.0.0.1:` + port + `"]}`
		s.configureSections(s.config, config)
		s.hup()
		s.await("reload", func() bool { return strings.Count(s.logged(), `reloaded" changes`) == i+2 })
		s.give(1)
		total += 2
		s.awaitHost(total)
	}
	close(stop)
	if err := <-scraped; err != nil {
		t.Error(err)
	}
}

func scrapeEnergy(ctx context.Context, client *http.Client, url string) (float64, error) {
	scrape, err := metrics.Fetch(ctx, client, url+"/metrics")
	if err != nil {
		return 0, err
	}
	if len(scrape.Find(hostEnergy)) == 0 {
		return 0, errors.New("no host energy")
	}
	return scrape.Total(hostEnergy), nil
}

// The state goes on in memory where the disk is full, and a reload loses nothing of it.
func TestReloadWithAFullDisk(t *testing.T) {
	s := newService(t)
	s.start()
	s.awaitHost(0)
	if err := os.RemoveAll(filepath.Join(s.dir, "run")); err != nil { // nothing can be written there any more
		t.Fatal(err)
	}
	s.give(5)
	s.awaitHost(10)
	s.awaitLog(`(state cannot be saved)`)
	s.configure("attribution: {idle: none}\n")
	s.hup()
	s.awaitLog(`(reloaded" changes)`)
	s.give(1)
	s.awaitHost(12)
}

// The sensor may go: the reload waits for a better day, and the service for its zones.
func TestReloadWithoutTheSensor(t *testing.T) {
	s := newService(t)
	s.start()
	s.give(1)
	s.awaitHost(2)
	zones, away := filepath.Join(s.dir, "sys/class/powercap"), filepath.Join(s.dir, "away")
	if err := os.Rename(zones, away); err != nil {
		t.Fatal(err)
	}
	s.configure("attribution: {idle: none}\n")
	s.hup()
	s.awaitLog(`(the old one goes on" error="no readable RAPL zone)`)
	if err := os.Rename(away, zones); err != nil {
		t.Fatal(err)
	}
	s.give(1)
	s.awaitHost(4)
	s.hup()
	s.awaitLog(`(reloaded" changes=\[attribution.idle\])`)
	s.give(1)
	s.awaitHost(6)
}

// Connections that say nothing delay neither a reload nor the end.
func TestIdleConnectionsDelayNothing(t *testing.T) {
	s := newService(t)
	s.start()
	s.awaitHost(0)
	for i := range 300 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if i%2 == 0 {
			fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\n")
		}
	}
	s.awaitHost(0) // a scraper among them
	s.configure("attribution: {idle: none}\n")
	s.hup()
	s.awaitLog(`(reloaded" changes)`)
	start := time.Now()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.process.Wait(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, s.logged())
	}
	if took := time.Since(start); took > 3*time.Second { // 5 s and more by net/http's own rules
		t.Errorf("the end took %v", took)
	}
}
