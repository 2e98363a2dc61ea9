package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/parts"
	"github.com/scaph/scaph/internal/web"
)

// sections are those of the parts of the programs, with their defaults.
func sections() []Section {
	all := []Section{{"web", web.Default()}}
	for _, part := range parts.Exporters() {
		if part.Section != nil {
			all = append(all, Section{part.Name, part.Section()})
		}
	}
	return all
}

// loadAll is Load with the sections of all parts.
func loadAll(o Options) (Config, error) {
	o.Sections = sections()
	return Load(o)
}

// defaults are those of everything.
func defaults() Config {
	c := Default()
	c.Sections = sections()
	return c
}

// load writes text to a file and loads it as scaph-host's.
func load(t *testing.T, text string, env ...string) (Config, error) {
	t.Helper()
	return loadAll(Options{Program: Host, Path: write(t, text), Env: env})
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scaph.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNothingConfiguredIsDefault(t *testing.T) {
	for _, program := range []Program{Host, Guest} {
		c, err := loadAll(Options{Program: program})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c, defaults()) {
			t.Errorf("%s: got %+v", program, c)
		}
	}
	for _, text := range []string{"", "# only a comment\n", "---\n", "tree:\nhost:\n", "attribution: {idle_watts: }\n"} {
		if c, err := load(t, text); err != nil || !reflect.DeepEqual(c, defaults()) {
			t.Errorf("%q: %v, differs in %v", text, err, Diff(c, defaults()))
		}
	}
}

// The examples name every key, and give it its default.
func TestExamplesAreTheDefaults(t *testing.T) {
	for program, path := range map[Program]string{Host: "scaph-host.yaml", Guest: "scaph-guest.yaml"} {
		path = filepath.Join("..", "..", "configs", path)
		c, err := loadAll(Options{Program: program, Path: path})
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := Diff(c, defaults()); len(diff) > 0 {
			t.Errorf("%s: not the defaults: %v", path, diff)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		l := loader{keys: keysOf(program, sections()), viper: viper.New(), where: map[string]string{}}
		l.file(path, text)
		for _, k := range l.keys {
			if l.where[k.name] == "" {
				t.Errorf("%s does not hold the key %s", path, k.name)
			}
		}
	}
}

func TestPrecedence(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.String("sysfs", "/flag-default", "")
	flags.String("procfs", "/flag-default", "")
	flags.Int("top", 7, "")
	keys := map[string]string{"sysfs": "host.sysfs", "procfs": "host.procfs", "top": "processes.top"}
	if err := flags.Parse([]string{"--sysfs=/flag", "--top=3"}); err != nil {
		t.Fatal(err)
	}
	path := write(t, "host: {sysfs: /file, procfs: /file}\nstate: {run: /file}\nprocesses: {top: 9}")
	c, err := loadAll(Options{
		Program: Host, Path: path, Flags: flags, Keys: keys,
		Env: []string{"SCAPH_HOST_SYSFS=/env", "SCAPH_HOST_PROCFS=/env", "PATH=/bin"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Host.Sysfs, c.Host.Procfs, c.State.Run, c.State.Lib, c.Processes.Top}
	want := []any{"/flag", "/env", "/file", "/var/lib/scaph", 3}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := loadAll(Options{Program: Host, Flags: flags, Keys: map[string]string{"nope": "interval"}}); err == nil {
		t.Error("a mapping of a flag that does not exist is accepted")
	}
}

func TestValues(t *testing.T) {
	c, err := load(t, `
interval: 500ms
attribution: {idle: reserved, idle_watts: {package-0: 12.5, "intel-rapl:1": 11}}
libvirt: {enabled: false}
tree:
  enabled: true
  owner: 107
  publish:
    profile: untrusted
    vms:
      Web.01: {profile: off}
      6b1f3c2e-0000-4000-8000-000000000001: {profile: trusted}
`, "SCAPH_TREE_PUBLISH_QUANTUM=2.5J", "SCAPH_PROMETHEUS_ENABLED=false", "SCAPH_WEB_LISTEN=127.0.0.1:1, [::1]:2", "SCAPH_SENSOR_ESTIMATE_IDLE_WATTS=3.5")
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Interval = 500 * time.Millisecond
	want.Attribution = Attribution{Idle: "reserved", IdleWatts: map[string]float64{"package-0": 12.5, "intel-rapl:1": 11}}
	want.Libvirt.Enabled = None
	want.Tree.Enabled, want.Tree.Owner = On, "107"
	want.Tree.Publish = Publish{
		Profile: Untrusted,
		Policy:  Policy{Interval: 10 * time.Second, Jitter: 2 * time.Second, Quantum: 2500 * Millijoule},
		VMs:     map[string]VMPublish{"Web.01": {Off}, "6b1f3c2e-0000-4000-8000-000000000001": {Trusted}},
	}
	want.Sections[0].Values.(*web.Config).Listen = []string{"127.0.0.1:1", "[::1]:2"}
	for _, s := range want.Sections {
		if s.Name == "prometheus" {
			s.Values.(export.Section).Turn(false)
		}
	}
	want.Sensor.Estimate.IdleWatts = 3.5
	if !reflect.DeepEqual(c, want) {
		t.Errorf("differs in %v: got %+v", Diff(c, want), c)
	}

	for _, vm := range []struct {
		uuid, name string
		asked      Profile // by the domain's own definition
		profile    Profile
		quantum    Energy
	}{
		{"u", "web.01", "", Untrusted, 2500 * Millijoule}, // names have a case
		{"u", "Web.01", "", Off, Millijoule},
		{"6b1f3c2e-0000-4000-8000-000000000001", "Web.01", "", Trusted, Millijoule},
		{"u", "web.01", "trusted", Trusted, Millijoule},
		{"u", "web.01", "everything", Off, Millijoule},
		{"u", "Web.01", "trusted", Off, Millijoule},
	} {
		if profile, policy := c.Tree.Publish.For(vm.uuid, vm.name, vm.asked); profile != vm.profile || policy.Quantum != vm.quantum {
			t.Errorf("%s: %s %+v", vm.name, profile, policy)
		}
	}
}

func TestMapFromTheEnvironment(t *testing.T) {
	c, err := load(t, "attribution: {idle_watts: {package-0: 1}}", "SCAPH_ATTRIBUTION_IDLE_WATTS={package-1: 7}")
	if want := map[string]float64{"package-1": 7}; err != nil || !reflect.DeepEqual(c.Attribution.IdleWatts, want) {
		t.Errorf("%v, %v", c.Attribution.IdleWatts, err)
	}
}

// TestNamesStandForThemselves loads keys that are names of things as they are written, from the file and
// from the environment. YAML alone would make numbers and dates of some of them, and whoever folds the case
// of the others shows a VM to its tenant that was to show nothing.
func TestNamesStandForThemselves(t *testing.T) {
	const uuid = "6f1e0000-0000-4000-8000-0000000000ab"
	vms := "{Web01: {profile: off}, 107: {profile: off}, 0107: {profile: off}, 1e3: {profile: off}, Yes: {profile: off}, " +
		"2024-01-01: {profile: off}, a.B: {profile: off}, true: {profile: off}, null: {profile: off}, 6F1E0000-0000-4000-8000-0000000000AB: {profile: off}, " +
		"6F1E00000000400080000000000000AC: {profile: untrusted}}"
	zones := "{Package-0: 3, 7: 4, 0x10: 5, \"intel-rapl:A\": 6}"
	fromFile, err := load(t, "tree: {publish: {vms: "+vms+"}}\nattribution: {idle_watts: "+zones+"}")
	if err != nil {
		t.Fatal(err)
	}
	fromEnvironment, err := load(t, "", "SCAPH_TREE_PUBLISH_VMS="+vms, "SCAPH_ATTRIBUTION_IDLE_WATTS="+zones)
	if err != nil {
		t.Fatal(err)
	}
	overFile, err := load(t, "tree: {publish: {vms: {web01: {profile: trusted}}}}", "SCAPH_TREE_PUBLISH_VMS="+vms, "SCAPH_ATTRIBUTION_IDLE_WATTS="+zones)
	if err != nil {
		t.Fatal(err)
	}
	for from, c := range map[string]Config{"file": fromFile, "environment": fromEnvironment, "both": overFile} {
		if want := map[string]float64{"Package-0": 3, "7": 4, "0x10": 5, "intel-rapl:A": 6}; !reflect.DeepEqual(c.Attribution.IdleWatts, want) {
			t.Errorf("%s: zones %v, want %v", from, c.Attribution.IdleWatts, want)
		}
		if n := len(c.Tree.Publish.VMs); n != 11 {
			t.Errorf("%s: %d VMs: %v", from, n, c.Tree.Publish.VMs)
		}
		for _, vm := range []struct {
			uuid, name string
			want       Profile
		}{
			{"u", "Web01", Off}, {"u", "web01", Trusted}, {"u", "107", Off}, {"u", "0107", Off}, {"u", "71", Trusted}, {"u", "1e3", Off},
			{"u", "1000", Trusted}, {"u", "Yes", Off}, {"u", "2024-01-01", Off}, {"u", "a.B", Off}, {"u", "true", Off}, {"u", "null", Off},
			{uuid, "x", Off}, {"6f1e0000-0000-4000-8000-0000000000ac", "x", Untrusted}, {"u", strings.ToUpper(uuid), Off},
		} {
			if got, _ := c.Tree.Publish.For(vm.uuid, vm.name, ""); got != vm.want {
				t.Errorf("%s: %s named %s: %s, want %s", from, vm.uuid, vm.name, got, vm.want)
			}
		}
	}
}

// TestUnknownProfileShowsNothing has a domain ask for what is no profile: that never means the default.
func TestUnknownProfileShowsNothing(t *testing.T) {
	for _, asked := range []Profile{"untrustd", "Untrusted", " off", "everything"} {
		if got, _ := defaults().Tree.Publish.For("u", "web", asked); got != Off {
			t.Errorf("%q: %s, want off", asked, got)
		}
	}
}

// TestOverridesThatHoldForNobody says once which they are, and which VM was probably meant.
func TestOverridesThatHoldForNobody(t *testing.T) {
	c, err := load(t, "tree: {publish: {vms: {web01: {profile: off}, db: {profile: off}, 6F1E0000-0000-4000-8000-0000000000AB: {profile: off}}}}")
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	o := NewOverrides(c.Tree.Publish, slog.New(slog.NewTextHandler(&log, nil)))
	look := func(names ...string) string {
		t.Helper()
		log.Reset()
		for _, name := range names {
			asked := map[string]Profile{"old": "untrustd", "shop": "untrusted", "db": "everything"}[name]
			profile, _ := o.For("uuid-of-"+name, name, asked)
			if want := map[string]Profile{"Web01": Trusted, "db": Off, "old": Off, "shop": Untrusted, "web01": Off}[name]; profile != want {
				t.Errorf("%s: %s, want %s", name, profile, want)
			}
		}
		o.EndLook()
		return log.String()
	}
	got := look("Web01", "db", "old", "shop")
	for _, want := range []string{
		`level=WARN msg="publish override holds for no VM that is known" key=tree.publish.vms.6f1e0000-0000-4000-8000-0000000000ab`,
		`level=WARN msg="publish override holds for no VM that is known" key=tree.publish.vms.web01 nearest=Web01`,
		`level=WARN msg="unknown publish profile in domain metadata" vm=old uuid=uuid-of-old asked=untrustd profile=off hint=`,
		`asked=everything profile=off`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 4 {
		t.Errorf("%d lines, want 4:\n%s", n, got)
	}
	if again := look("Web01", "db", "old", "shop"); again != "" {
		t.Errorf("said again: %s", again)
	}
	if fine, err := load(t, "tree: {publish: {profile: untrusted, interval: 1s, quantum: 1mJ}}"); err != nil {
		t.Error(err)
	} else {
		log.Reset()
		NewOverrides(fine.Tree.Publish, slog.New(slog.NewTextHandler(&log, nil))).EndLook()
		if !strings.Contains(log.String(), "finer than the profile's") {
			t.Errorf("figures undo the profile: %q", log.String())
		}
	}
	if got := look("Web01", "web01"); !strings.Contains(got, `msg="publish override holds" key=web01 vm=web01`) {
		t.Errorf("web01 has come: %q", got)
	}
}

// What depends on another value follows it where it is not configured itself.
func TestPublishFollowsTheTick(t *testing.T) {
	c, err := load(t, "interval: 5s")
	if err != nil || c.Tree.Publish.Interval != 5*time.Second {
		t.Errorf("%v, %v", c.Tree.Publish, err)
	}
	c, err = load(t, "tree: {publish: {profile: untrusted, interval: 2s}}")
	if err != nil || c.Tree.Publish.Jitter >= 2*time.Second || c.Tree.Publish.Jitter == 0 {
		t.Errorf("%v, %v", c.Tree.Publish, err)
	}
}

func TestProblems(t *testing.T) {
	tests := map[string]struct {
		text, env string
		want      string // part of the message
	}{
		"misspelt":          {"web: {listne: x}", "", "web.listne: no such key; did you mean web.listen?"},
		"wrong section":     {"listen: x", "", "did you mean web.listen?"},
		"misspelt section":  {"promtheus: {listen: x}", "", "did you mean prometheus?"},
		"line":              {"interval: 1s\n\nfoo: 1\n", "", "scaph.yaml:3: foo"},
		"wrong case":        {"Interval: 1s", "", "did you mean interval?"},
		"twice":             {"interval: 1s\ninterval: 2s", "", "second time"},
		"section twice":     {"tree: {}\ntree: {}", "", "second time"},
		"no section":        {"tree: true", "", "tree: a section is expected here; its keys: enabled, path, owner, publish"},
		"list":              {"- a", "", "a section is expected"},
		"garbage":           {"a: [", "", "not YAML"},
		"two documents":     {"interval: 1s\n---\ninterval: 2s", "", "second document"},
		"cycle":             {"attribution: {idle_watts: &a {x: *a}}", "", "idle_watts"},
		"cycle of sections": {"tree: &a {publish: *a}", "", "no such key"},
		"merge key":         {"tree: {<<: {path: /x}}", "", "no such key"},
		"number, no unit":   {"interval: 1", "", "interval: 1 is not allowed; allowed: a duration from 100ms to 1m"},
		"nothing":           {"interval:", "", "interval: nothing is not allowed"},
		"interval short":    {"interval: 1ms", "", "interval: 1ms is not allowed"},
		"interval long":     {"interval: 2h", "", "interval: 2h0m0s is not allowed"},
		"interval is map":   {"interval: {a: 1}", "", "interval: "},
		"fraction":          {"processes: {top: 1.5}", "", "processes.top: 1.5 is not allowed"},
		"negative":          {"processes: {top: -1}", "", "top: -1 is not allowed"},
		"huge":              {"processes: {top: 99999999999999999999}", "", "top: "},
		"bool as text":      {`prometheus: {enabled: "yes"}`, "", "enabled: yes is not allowed; allowed: true or false"},
		"switch":            {"libvirt: {enabled: maybe}", "", "allowed: auto, true or false"},
		"enumeration":       {"attribution: {idle: all}", "", "attribution.idle: all is not allowed; allowed: shared, reserved or none"},
		"relative path":     {"tree: {path: var/lib}", "", "tree.path: var/lib is not allowed; allowed: an absolute path"},
		"root":              {"tree: {path: /..}", "", "tree.path"},
		"quantum unit":      {"tree: {publish: {quantum: 1}}", "", "tree.publish.quantum: 1 is not allowed; allowed: an energy"},
		"quantum kJ":        {"tree: {publish: {quantum: 1kJ}}", "", "tree.publish.quantum: 1kJ is"},
		"quantum none":      {"tree: {publish: {quantum: 0J}}", "", "tree.publish.quantum: 0uJ is"},
		"quantum part":      {"tree: {publish: {quantum: 0.5uJ}}", "", "tree.publish.quantum: 0.5uJ is"},
		"quantum NaN":       {"tree: {publish: {quantum: NaNJ}}", "", "tree.publish.quantum"},
		"publish too often": {"interval: 2s\ntree: {publish: {interval: 1s}}", "", "tree.publish.interval: 1s is not"},
		"jitter":            {"tree: {publish: {jitter: 1s}}", "", "tree.publish.jitter"},
		"VM profile":        {"tree: {publish: {vms: {web: {profile: secret}}}}", "", "tree.publish.vms"},
		"VM key":            {"tree: {publish: {vms: {web: {quantum: 1J}}}}", "", "quantum"},
		"VM not a map":      {"tree: {publish: {vms: {web: off}}}", "", "web"},
		"VM profile's case": {"tree: {publish: {vms: {web: {profile: Off}}}}", "", "tree.publish.vms"},
		"VM key's case":     {"tree: {publish: {vms: {web: {PROFILE: off}}}}", "", "tree.publish.vms"},
		"VM twice": {"tree: {publish: {vms: {6F1E0000-0000-4000-8000-0000000000AB: {profile: off}, 6f1e0000-0000-4000-8000-0000000000ab: {profile: trusted}}}}",
			"", "for the second time"},
		"VMs no map":        {"tree: {publish: {vms: [web]}}", "", "tree.publish.vms"},
		"idle negative":     {"attribution: {idle_watts: {package-0: -1}}", "", "attribution.idle_watts"},
		"idle NaN":          {"attribution: {idle_watts: {package-0: .nan}}", "", "attribution.idle_watts"},
		"idle text":         {"attribution: {idle_watts: {package-0: x}}", "", "package-0"},
		"estimate":          {"sensor: {estimate: {max_watts: 10}}", "", "sensor.estimate.idle_watts: 20 is not allowed"},
		"address":           {"web: {listen: 8080}", "", "web.listen: 8080 is not allowed"},
		"port":              {"web: {listen: \":http\"}", "", "web.listen: [:http] is"},
		"address twice":     {"web: {listen: [\":1\", \":1\"]}", "", "web.listen: \"[:1 :1]\" is"},
		"addresses overlap": {"web: {listen: [\":1\", \"127.0.0.1:1\"]}", "", "web.listen: \"[:1 127.0.0.1:1]\" is"},
		"address is a map":  {"web: {listen: {a: 1}}", "", "web.listen"},
		"old key":           {"prometheus: {listen: 8080}", "", "web.listen: 8080 is not allowed"},
		"old key's section": {"prometheus: {processes: 7}", "", "prometheus.processes: a section is expected"},
		"near an old key":   {"prometheus: {processes: {bottom: 7}}", "", "no such key"},
		"old variable":      {"", "SCAPH_PROMETHEUS_PROCESSES_TOP=many", "SCAPH_PROMETHEUS_PROCESSES_TOP: processes.top: many is not allowed"},
		"hides a page":      {"prometheus: {path: /healthz}", "", "prometheus.path"},
		"pattern":           {"prometheus: {path: \"/{x}\"}", "", "prometheus.path"},
		"environment value": {"", "SCAPH_INTERVAL=soon", "SCAPH_INTERVAL: interval: soon is not allowed"},
		"environment map":   {"", "SCAPH_ATTRIBUTION_IDLE_WATTS=12", "SCAPH_ATTRIBUTION_IDLE_WATTS"},
		"escape":            {"\"a\\x1b[31m\": 1", "", `"a\x1b[31m"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, tt.text, tt.env)
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got  %v\nwant … %s …", err, tt.want)
			}
			if len(e.Problems) != 1 {
				t.Errorf("one mistake, %d problems: %v", len(e.Problems), err)
			}
			if strings.ContainsRune(err.Error(), '\x1b') {
				t.Errorf("an escape sequence reaches the terminal: %q", err)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := load(t, "interval: 1\nfoo: 1\ntree: {path: x, publish: {quantum: 7}}", "SCAPH_LOG_LEVEL=loud")
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) != 5 {
		t.Fatal(err)
	}
	if _, err := loadAll(Options{Program: Host, Path: "/nonexistent/scaph.yaml"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestGuestDoesNotKnowTheHostsKeys(t *testing.T) {
	for _, text := range []string{"tree: {path: /x}", "libvirt: {uri: x}", "sensor: {kind: estimate}", "attribution: {idle: none}"} {
		if _, err := loadAll(Options{Program: Guest, Path: write(t, text)}); err == nil || !strings.Contains(err.Error(), "no such key") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := loadAll(Options{Program: Guest, Path: write(t, "interval: 2h")}); err == nil {
		t.Error("2h is accepted")
	}
}

// What others put into our environment is not a mistake of the operator's: it is told, and does no harm.
func TestForeignVariables(t *testing.T) {
	warnings := func(variable string) (warnings []Problem, err error) {
		_, err = loadAll(Options{Program: Host, Env: []string{variable}, Warn: func(p Problem) { warnings = append(warnings, p) }})
		return warnings, err
	}
	for name, meant := range map[string]string{
		"SCAPH_SERVICE_HOST": "", "SCAPH_SERVICE_PORT": "", "SCAPH_SERVICE_PORT_HTTP": "", "SCAPH_PORT": "", // Kubernetes
		"SCAPH_PORT_8080_TCP": "", "SCAPH_PORT_8080_TCP_ADDR": "", "SCAPH_HOST_SERVICE_HOST": "", "SCAPH_HOST_PORT": "",
		"SCAPH_HOST": "", "SCAPH_": "", "SCAPH_x\ny": "",
		"SCAPH_TREE_PAHT": "SCAPH_TREE_PATH", "SCAPH_LIBVIRT_ENABLE": "SCAPH_LIBVIRT_ENABLED",
	} {
		got, err := warnings(name + "=tcp://10.0.0.1:8080")
		if err != nil || len(got) != 1 || !strings.Contains(got[0].String(), "did you mean SCAPH_") || !strings.Contains(got[0].String(), meant) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"SCAPH_WARP10_WRITE_TOKEN", "SCAPHANDRE_POWERCAP_PATH", "scaph_interval", "PATH"} {
		if got, err := warnings(name + "=x"); err != nil || len(got) > 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, variable := range []string{"SCAPH_INTERVAL=tcp://10.0.0.1:8080", "SCAPH_INTERVAL=", "SCAPH_TREE_PUBLISH_VMS={web: 7}"} {
		if _, err := warnings(variable); err == nil {
			t.Errorf("%s: a wrong value of a key is accepted", variable)
		}
	}
	seen := map[string]string{}
	for _, k := range keysOf(Host, sections()) {
		if other := seen[k.env()]; other != "" || notKeys[k.env()] {
			t.Errorf("%s cannot be set by %s (%s)", k.name, k.env(), other)
		}
		seen[k.env()] = k.name
	}
}

// A key that has moved is taken under its old name, with a warning that names the new one, which wins where both are set in
// one place; places have their usual order.
func TestMovedKeys(t *testing.T) {
	for _, tt := range []struct {
		text, env string
		listen    string
		top       int
		warnings  []string // parts of them, in order
	}{
		{"prometheus: {listen: \"127.0.0.1:1\", web_config: /x, processes: {top: 7}}", "", "[127.0.0.1:1]", 7,
			[]string{"prometheus.listen: configuration key has moved; write web.listen", "write web.config", "scaph.yaml:1: prometheus.processes.top: configuration key has moved; write processes.top"}},
		{"prometheus: {listen: \":1\"}\nweb: {listen: [\":2\"]}", "", "[:2]", 50, []string{"prometheus.listen: ignoring a configuration key that has moved; web.listen is set too"}},
		{"web: {listen: [\":2\"]}\nprometheus: {listen: \":1\"}", "", "[:2]", 50, []string{"ignoring"}},
		{"", "SCAPH_PROMETHEUS_LISTEN=:1", "[:1]", 50, []string{"SCAPH_PROMETHEUS_LISTEN: prometheus.listen: configuration key has moved; write web.listen"}},
		{"", "SCAPH_PROMETHEUS_LISTEN=:1 SCAPH_WEB_LISTEN=:2", "[:2]", 50, []string{"ignoring"}},
		{"", "SCAPH_PROMETHEUS_PROCESSES_TOP=1 SCAPH_PROCESSES_TOP=2", "[127.0.0.1:8080]", 2, []string{"ignoring"}},
		{"web: {listen: [\":2\"]}", "SCAPH_PROMETHEUS_LISTEN=:1", "[:1]", 50, []string{"has moved"}},
		{"prometheus: {listen: \":1\"}", "SCAPH_WEB_LISTEN=:2", "[:2]", 50, []string{"has moved"}},
		{"prometheus: {processes: }", "", "[127.0.0.1:8080]", 50, nil},
	} {
		var warnings []string
		c, err := loadAll(Options{
			Program: Host, Path: write(t, tt.text), Env: strings.Fields(tt.env), Warn: func(p Problem) { warnings = append(warnings, p.String()) },
		})
		if err != nil {
			t.Errorf("%s %s: %v", tt.text, tt.env, err)
			continue
		}
		if got := fmt.Sprint(c.Sections[0].Values.(*web.Config).Listen); got != tt.listen || c.Processes.Top != tt.top {
			t.Errorf("%s %s: %s, %d", tt.text, tt.env, got, c.Processes.Top)
		}
		if len(warnings) != len(tt.warnings) {
			t.Errorf("%s %s: %q", tt.text, tt.env, warnings)
			continue
		}
		for i, want := range tt.warnings {
			if !strings.Contains(warnings[i], want) {
				t.Errorf("%s %s: %q, want %q", tt.text, tt.env, warnings[i], want)
			}
		}
	}
	// No old name is a key, and each new one is.
	for _, m := range moves() {
		old, now := false, false
		for _, k := range keysOf(Host, sections()) {
			old, now = old || k.name == m.from, now || k.name == m.to && !k.isMap()
		}
		if old || !now {
			t.Errorf("%v: the old name is a key: %v, the new one is: %v", m, old, now)
		}
	}
}

// YAML has booleans where people write profiles: the message says what to write.
func TestProfileThatIsABoolean(t *testing.T) {
	for text, hint := range map[string]string{
		"{vms: {web: off}}":              `web]: write {profile: off}`,
		"{vms: {web: false}}":            `web]: write {profile: "off"}`,
		"{vms: {web: untrusted}}":        `web]: write {profile: untrusted}`,
		"{vms: {web: {profile: false}}}": `write "off"`,
		"{profile: false}":               `write "off"`,
		"{profile: no}":                  `trusted, untrusted or off`,
	} {
		_, err := load(t, "tree: {publish: "+text+"}")
		if err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%s: %v, want %q", text, err, hint)
		}
	}
}

func TestEveryKeyIsExplained(t *testing.T) {
	for _, k := range keysOf(Host, sections()) {
		if k.allowed == "" {
			t.Errorf("%s: the message of a wrong value would say nothing", k.name)
		}
	}
}

func TestYAMLLoadsBack(t *testing.T) {
	c := defaults()
	c.Tree.Publish.VMs["Web: 01"] = VMPublish{Off}
	c.Attribution.IdleWatts["intel-rapl:0"] = 1.5
	c.Libvirt.Enabled = On
	c.Tree.Publish.Quantum = 1500 * Millijoule
	back, err := load(t, string(c.YAML(Host)))
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("%v, differs in %v:\n%s", err, Diff(back, c), c.YAML(Host))
	}
	if _, err := loadAll(Options{Program: Guest, Path: write(t, string(defaults().YAML(Guest)))}); err != nil {
		t.Error(err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("interval: 1s\ntree: {publish: {vms: {a: {profile: off}}}}", "SCAPH_INTERVAL=2s")
	f.Add("attribution: {idle_watts: &a {x: *a}}", "SCAPH_ATTRIBUTION_IDLE_WATTS={a: 1}")
	f.Add("? {a: b}\n: c\n", "SCAPH_")
	path := filepath.Join(f.TempDir(), "f.yaml")
	f.Fuzz(func(t *testing.T, text, env string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := loadAll(Options{Program: Host, Path: path, Env: []string{env}})
		if err != nil {
			return
		}
		if err := os.WriteFile(path, c.YAML(Host), 0o600); err != nil {
			t.Fatal(err)
		}
		back, err := loadAll(Options{Program: Host, Path: path})
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Fatalf("does not load back: %v, %v\n%s", err, Diff(back, c), c.YAML(Host))
		}
	})
}

func FuzzEnergy(f *testing.F) {
	for _, s := range []string{"1mJ", "1uJ", "1J", "2.5J", "1e3mJ", "0x1pJ", "µJ", "-1J", "InfJ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var e, back Energy
		if e.UnmarshalText([]byte(s)) != nil {
			return
		}
		if err := back.UnmarshalText([]byte(e.String())); err != nil || back != e {
			t.Errorf("%q is %d, written %s, read %d (%v)", s, uint64(e), e, uint64(back), err)
		}
	})
}
