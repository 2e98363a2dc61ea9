package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/scaph/scaph/test/metrics"
	"github.com/scaph/scaph/test/source"
	"github.com/scaph/scaph/test/wait"
)

// patience bounds every wait; these machines are slow at times.
const patience = 30 * time.Second

// A service is a running `scaph-host run`.
type service struct {
	t       *testing.T
	dir     string
	machine *machine
	config  string // path
	process *exec.Cmd
	url     string

	mu  sync.Mutex // guards log
	log bytes.Buffer
}

func newService(t *testing.T) *service {
	t.Helper()
	source.Depend(t, "cmd", "internal")
	s := &service{t: t, dir: t.TempDir()}
	var err error
	if s.machine, err = newMachine(filepath.Join(s.dir, "sys")); err != nil {
		t.Fatal(err)
	}
	s.config = filepath.Join(s.dir, "config.yaml")
	s.configure("")
	return s
}

// configure writes the configuration: the least that a test needs, and more.
func (s *service) configure(more string) {
	s.t.Helper()
	text := fmt.Sprintf(`interval: 100ms
host: {sysfs: %[1]s/sys}
libvirt: {enabled: false}
tree: {enabled: false}
state: {run: %[1]s/run, lib: %[1]s/lib}
web: {listen: ["127.0.0.1:0"]}
`, s.dir) + more
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *service) command() *exec.Cmd {
	return exec.Command(filepath.Join(programs, "scaph-host"), "run", "--config", s.config)
}

// start starts the service and waits until it serves.
func (s *service) start() {
	s.t.Helper()
	s.process = s.command()
	pipe, err := s.process.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.log.Reset()
	s.mu.Unlock()
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			s.mu.Lock()
			s.log.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
		}
	}()
	p := s.process
	s.t.Cleanup(func() {
		_ = p.Process.Kill()
		<-read
		_ = p.Wait()
		if s.t.Failed() {
			s.t.Logf("log:\n%s", s.logged())
		}
	})
	s.url = "http://" + s.awaitLog(`address=(127\.0\.0\.1:\d+)`)
}

func (s *service) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// awaitLog waits for the last match of a pattern in the log and gives its group.
func (s *service) awaitLog(pattern string) string {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	var found string
	s.await("log line "+pattern, func() bool {
		all := re.FindAllStringSubmatch(s.logged(), -1)
		if len(all) > 0 {
			found = all[len(all)-1][len(all[len(all)-1])-1]
		}
		return found != ""
	})
	return found
}

func (s *service) await(what string, done func() bool) {
	s.t.Helper()
	wait.Until(s.t, what, patience, done) // the log is shown where the test fails
}

// joules reads a counter from the metrics; -1 where it is not there.
func (s *service) joules(name string, labels ...string) float64 {
	s.t.Helper()
	scrape, err := metrics.Fetch(s.t.Context(), http.DefaultClient, s.url+"/metrics")
	if err != nil {
		return -1
	}
	found := scrape.Find(name, labels...)
	if len(found) == 0 {
		return -1
	}
	return found[0].Value
}

const hostEnergy = "scaph_host_energy_joules_total"

func (s *service) give(joules uint64) {
	s.t.Helper()
	if err := s.machine.give(joules * 1_000_000); err != nil {
		s.t.Fatal(err)
	}
}

// awaitHost waits until the host's counter shows so many joules, and holds that it never shows more.
func (s *service) awaitHost(want float64) {
	s.t.Helper()
	s.await(fmt.Sprintf("%v J at the host", want), func() bool {
		got := s.joules(hostEnergy)
		if got > want {
			s.t.Fatalf("the host shows %v J, more than the %v given", got, want)
		}
		return got == want
	})
}

// A killed service that is started again shows all that the zones gave meanwhile, and no counter falls.
func TestKilledServiceGoesOn(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start()
	s.awaitHost(0)
	want := 0.0
	for range 5 {
		s.give(10)
		want += 20 // package and dram
		s.awaitHost(want)
		if err := s.process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = s.process.Wait()
		s.give(7)
		want += 14
		s.start()
		s.awaitHost(want)
	}
}

// A second instance refuses, with the pid of the first.
func TestSecondInstanceRefuses(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start()
	out, err := s.command().CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("second instance: %v, want exit code 1", err)
	}
	if want := fmt.Sprintf("pid %d", s.process.Process.Pid); !strings.Contains(string(out), want) {
		t.Errorf("second instance says %q, want it to name %s", out, want)
	}
}

// SIGHUP takes a good configuration and refuses a bad one; neither loses a count.
func TestReload(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start()
	s.awaitHost(0)
	s.give(3)
	s.awaitHost(6)

	s.configure("attribution: {idle: nonsense}\n")
	s.hup()
	s.awaitLog(`(not reloaded)`)
	s.give(1)
	s.awaitHost(8)

	s.configure("attribution: {idle: none}\n")
	s.hup()
	s.awaitLog(`(reloaded" changes=\[attribution.idle\])`)
	s.awaitHost(8)
	s.give(2)
	s.awaitHost(12)
}

func (s *service) hup() {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
}

// The series of scaphandre are there, and say what the native ones say; or are not, where they are not wanted.
func TestCompatibleSeries(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start()
	s.awaitHost(0)
	s.give(5)
	s.awaitHost(10)
	if got := s.joules("scaph_host_energy_microjoules"); got != 10e6 {
		t.Errorf("%v µJ at the host, want 10000000", got)
	}
	s.await("what is collected beside the ticks", func() bool { return s.joules("scaph_host_memory_total_bytes") > 0 })
	s.configureSections(s.config, map[string]string{"prometheus": `{listen: "127.0.0.1:0", compat: false}`})
	s.hup()
	s.awaitLog(`(reloaded" changes)`)
	s.url = "http://" + s.awaitLog(`address=(127\.0\.0\.1:\d+)`)
	s.await("no series of scaphandre", func() bool { // a connection to the former server may answer once more
		return s.joules("scaph_host_energy_microjoules") == -1 && s.joules(hostEnergy) == 10
	})
}

// SIGTERM ends the service with exit code 0, and it is ready before that.
func TestHealthAndGracefulStop(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start()
	for _, page := range []string{"/healthz", "/readyz", "/", "/metrics"} {
		s.await(page, func() bool {
			resp, err := http.Get(s.url + page)
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
	}
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.process.Wait(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, s.logged())
	}
	if strings.Contains(s.logged(), "ERROR") {
		t.Errorf("errors in a quiet life:\n%s", s.logged())
	}
}

// A disk that is full for the state is a counted error, and metering goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := newService(t)
	if err := os.Mkdir(filepath.Join(s.dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	// A directory in the place of the new file cannot be written to, whoever we are.
	if err := os.Mkdir(filepath.Join(s.dir, "run", "state.new"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.awaitHost(0)
	s.give(5)
	s.awaitHost(10)
	if n := s.joules("scaph_errors_total", "component", "state"); n < 1 {
		t.Errorf("scaph_errors_total of state is %v", n)
	}
	s.awaitLog(`(state cannot be saved)`)
}

// A zone that appears while the service runs is taken in, and nothing that was counted is lost.
func TestNewZone(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start()
	s.awaitHost(0)
	s.give(4)
	s.awaitHost(8)
	dir := filepath.Join(s.machine.sysfs, "class/powercap/intel-rapl:1")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"energy_uj": "100", "max_energy_range_uj": "262143328850", "name": "package-1"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.awaitLog(`(went on with the energy zones)`)
	s.await("the new zone", func() bool {
		return s.joules("scaph_zone_energy_joules_total", "zone", "package", "package", "1") == 0
	})
	s.give(1)
	s.awaitHost(10)
}

// status fetches a page, and returns its status.
func status(t *testing.T, url string) int {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}
