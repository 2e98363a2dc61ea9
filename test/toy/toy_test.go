package toy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/export/exporttest"
	"github.com/scaph/scaph/internal/parts"
)

// TestMain is the program too: scaph-host with one more exporter.
func TestMain(m *testing.M) {
	if os.Getenv("TOY_IS_PROGRAM") == "" {
		os.Exit(m.Run())
	}
	os.Exit(cli.Main(cli.Program{
		Kind:      config.Host,
		Exporters: append(parts.Exporters(), Part()), // the one line
	}))
}

func TestConformance(t *testing.T) { exporttest.Conform(t, Part()) }

// program makes a command of the program, on a machine whose power is estimated.
func program(t *testing.T, configuration string, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("interval: 100ms\nsensor: {kind: estimate}\nstate: {run: %[1]s/run, lib: %[1]s/lib}\nlibvirt: {enabled: false}\ntree: {enabled: false}\n"+
		"web: {listen: [\"127.0.0.1:0\"]}\n", dir)
	if err := os.WriteFile(path, []byte(text+configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], append(args, "--config", path)...)
	cmd.Env = append(os.Environ(), "TOY_IS_PROGRAM=yes")
	return cmd
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, _ := cmd.CombinedOutput() // what it says tells how it ended
	return string(out)
}

// One folder and one line bring a command with help, keys with their messages and variables, and a line of check.
func TestWhatAPartGets(t *testing.T) {
	for _, tt := range []struct {
		config string
		args   []string
		want   string
	}{
		{"", []string{"--help"}, `toy +Say how many watts the host takes`},
		{"", []string{"toy", "--help"}, `scaph-host toy --greeting Hi`},
		{"toy: {greting: Hi}", []string{"check"}, `toy.greting: no such key; did you mean toy.greeting\?`},
		{`toy: {greeting: ""}`, []string{"check"}, `toy.greeting: "" is not allowed; allowed: one word or more`},
		{"toy: {enabled: true}", []string{"check"}, `ok    toy +exports to whoever listens`},
		{"prometheus: {path: /toy}\ntoy: {enabled: true}", []string{"check"}, `FAIL  web +two parts want /toy`},
		{"", []string{"toy", "--greeting", ""}, `--greeting: toy.greeting: "" is not allowed`},
	} {
		if out := output(t, program(t, tt.config, tt.args...)); !regexp.MustCompile(tt.want).MatchString(out) {
			t.Errorf("%s with %q says nothing of %s:\n%s", tt.args, tt.config, tt.want, out)
		}
	}
	cmd := program(t, "", "check")
	cmd.Env = append(cmd.Env, "SCAPH_TOY_ENABLED=true")
	if out := output(t, cmd); !strings.Contains(out, "ok    toy") {
		t.Errorf("its variable is not known:\n%s", out)
	}
}

// It runs in the service beside the others, with its page in the index, and alone by its command.
func TestToyRuns(t *testing.T) {
	for _, tt := range []struct {
		config  string
		args    []string
		metrics int
	}{
		{"toy: {enabled: true, greeting: Hi}", []string{"run"}, http.StatusOK},
		{"", []string{"toy", "--greeting", "Hi"}, http.StatusNotFound},
	} {
		cmd := program(t, tt.config, tt.args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		logPipe, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		url := ""
		for lines := bufio.NewScanner(logPipe); url == "" && lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			if m := regexp.MustCompile(`msg="serving HTTP" address=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
				url = "http://" + m[1]
			}
		}
		rest := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, logPipe)
			rest <- err
		}()
		said, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || !strings.HasPrefix(said, "Hi, the host takes ") {
			t.Errorf("%s: %q, %v\n%s", tt.args, said, err, &log)
		}
		for path, want := range map[string]string{"/": `<a href="/toy">/toy</a>: a greeting`, "/toy": "Hi, the host takes", "/healthz": "alive"} {
			if status, body := fetch(t, url+path); status != http.StatusOK || !strings.Contains(body, want) {
				t.Errorf("%s %s: %d %s", tt.args, path, status, body)
			}
		}
		if status, _ := fetch(t, url+"/metrics"); status != tt.metrics {
			t.Errorf("%s: /metrics answers %d", tt.args, status)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := <-rest; err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", tt.args, err, &log)
		}
	}
}

func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}
