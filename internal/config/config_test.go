package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// load writes text to a file and loads it as scaph-host's.
func load(t *testing.T, text string, env ...string) (Config, error) {
	t.Helper()
	return Load(Options{Program: Host, Path: write(t, text), Env: env})
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
		c, err := Load(Options{Program: program})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c, Default()) {
			t.Errorf("%s: got %+v", program, c)
		}
	}
	for _, text := range []string{"", "# only a comment\n", "---\n", "tree:\nhost:\n", "attribution: {idle_watts: }\n"} {
		if c, err := load(t, text); err != nil || !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q: %v, differs in %v", text, err, Diff(c, Default()))
		}
	}
}

// The examples name every key, and give it its default.
func TestExamplesAreTheDefaults(t *testing.T) {
	for program, path := range map[Program]string{Host: "scaph-host.yaml", Guest: "scaph-guest.yaml"} {
		path = filepath.Join("..", "..", "configs", path)
		c, err := Load(Options{Program: program, Path: path})
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := Diff(c, Default()); len(diff) > 0 {
			t.Errorf("%s: not the defaults: %v", path, diff)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		l := loader{keys: keysOf(program), values: map[string]any{}, where: map[string]string{}}
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
	keys := map[string]string{"sysfs": "host.sysfs", "procfs": "host.procfs", "top": "prometheus.processes.top"}
	if err := flags.Parse([]string{"--sysfs=/flag", "--top=3"}); err != nil {
		t.Fatal(err)
	}
	path := write(t, "host: {sysfs: /file, procfs: /file}\nstate: {run: /file}\nprometheus: {processes: {top: 9}}")
	c, err := Load(Options{
		Program: Host, Path: path, Flags: flags, Keys: keys,
		Env: []string{"SCAPH_HOST_SYSFS=/env", "SCAPH_HOST_PROCFS=/env", "PATH=/bin"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Host.Sysfs, c.Host.Procfs, c.State.Run, c.State.Lib, c.Prometheus.Processes.Top}
	want := []any{"/flag", "/env", "/file", "/var/lib/scaph", 3}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := Load(Options{Program: Host, Flags: flags, Keys: map[string]string{"nope": "interval"}}); err == nil {
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
`, "SCAPH_TREE_PUBLISH_QUANTUM=2.5J", "SCAPH_PROMETHEUS_ENABLED=false", "SCAPH_SENSOR_ESTIMATE_IDLE_WATTS=3.5")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Interval = 500 * time.Millisecond
	want.Attribution = Attribution{Idle: "reserved", IdleWatts: map[string]float64{"package-0": 12.5, "intel-rapl:1": 11}}
	want.Libvirt.Enabled = None
	want.Tree.Enabled, want.Tree.Owner = On, "107"
	want.Tree.Publish = Publish{
		Profile: Untrusted,
		Policy:  Policy{Interval: 10 * time.Second, Jitter: 2 * time.Second, Quantum: 2500 * Millijoule},
		VMs:     map[string]VMPublish{"Web.01": {Off}, "6b1f3c2e-0000-4000-8000-000000000001": {Trusted}},
	}
	want.Prometheus.Enabled = false
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
		{"u", "web.01", "everything", Untrusted, 2500 * Millijoule},
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
		"misspelt":          {"prometheus: {listne: x}", "", "prometheus.listne: no such key; did you mean prometheus.listen?"},
		"wrong section":     {"listen: x", "", "did you mean prometheus.listen?"},
		"misspelt section":  {"promtheus: {listen: x}", "", "did you mean prometheus?"},
		"line":              {"interval: 1s\n\nfoo: 1\n", "", "scaph.yaml:3: foo"},
		"wrong case":        {"Interval: 1s", "", "did you mean interval?"},
		"variable":          {"", "SCAPH_TREE_PAHT=/x", "SCAPH_TREE_PAHT: no such variable; did you mean SCAPH_TREE_PATH?"},
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
		"fraction":          {"prometheus: {processes: {top: 1.5}}", "", "prometheus.processes.top: 1.5 is not allowed"},
		"negative":          {"prometheus: {processes: {top: -1}}", "", "top: -1 is not allowed"},
		"huge":              {"prometheus: {processes: {top: 99999999999999999999}}", "", "top: "},
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
		"idle negative":     {"attribution: {idle_watts: {package-0: -1}}", "", "attribution.idle_watts"},
		"idle NaN":          {"attribution: {idle_watts: {package-0: .nan}}", "", "attribution.idle_watts"},
		"idle text":         {"attribution: {idle_watts: {package-0: x}}", "", "package-0"},
		"estimate":          {"sensor: {estimate: {max_watts: 10}}", "", "sensor.estimate.idle_watts: 20 is not allowed"},
		"address":           {"prometheus: {listen: 8080}", "", "prometheus.listen: 8080 is not allowed"},
		"port":              {"prometheus: {listen: \":http\"}", "", "prometheus.listen: :http is"},
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
	_, err := load(t, "interval: 1\nfoo: 1\ntree: {path: x, publish: {quantum: 7}}", "SCAPH_NO=1", "SCAPH_LOG_LEVEL=loud")
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) != 6 {
		t.Fatal(err)
	}
	if _, err := Load(Options{Program: Host, Path: "/nonexistent/scaph.yaml"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestGuestDoesNotKnowTheHostsKeys(t *testing.T) {
	for _, text := range []string{"tree: {path: /x}", "libvirt: {uri: x}", "sensor: {kind: estimate}", "attribution: {idle: none}"} {
		if _, err := Load(Options{Program: Guest, Path: write(t, text)}); err == nil || !strings.Contains(err.Error(), "no such key") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := Load(Options{Program: Guest, Path: write(t, "interval: 2h")}); err == nil {
		t.Error("2h is accepted")
	}
}

// What others put into our environment is not a mistake of the operator's.
func TestForeignVariables(t *testing.T) {
	for _, name := range []string{
		"SCAPH_WARP10_WRITE_TOKEN", "SCAPH_HOST_SERVICE_HOST", "SCAPH_SERVICE_PORT", "SCAPH_SERVICE_PORT_HTTP",
		"SCAPH_HOST_PORT", "SCAPH_PORT_8080_TCP", "SCAPH_PORT_8080_TCP_ADDR", "SCAPHANDRE_POWERCAP_PATH",
	} {
		if _, err := load(t, "", name+"=tcp://10.0.0.1:8080"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	seen := map[string]string{}
	for _, k := range keysOf(Host) {
		if other := seen[k.env()]; other != "" || notKeys.MatchString(k.env()) {
			t.Errorf("%s cannot be set by %s (%s)", k.name, k.env(), other)
		}
		seen[k.env()] = k.name
	}
}

func TestEveryKeyIsExplained(t *testing.T) {
	for _, k := range keysOf(Host) {
		if k.allowed == "" {
			t.Errorf("%s: the message of a wrong value would say nothing", k.name)
		}
	}
}

func TestYAMLLoadsBack(t *testing.T) {
	c := Default()
	c.Tree.Publish.VMs["Web: 01"] = VMPublish{Off}
	c.Attribution.IdleWatts["intel-rapl:0"] = 1.5
	c.Libvirt.Enabled = On
	c.Tree.Publish.Quantum = 1500 * Millijoule
	back, err := load(t, string(c.YAML(Host)))
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("%v, differs in %v:\n%s", err, Diff(back, c), c.YAML(Host))
	}
	if _, err := Load(Options{Program: Guest, Path: write(t, string(Default().YAML(Guest)))}); err != nil {
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
		c, err := Load(Options{Program: Host, Path: path, Env: []string{env}})
		if err != nil {
			return
		}
		if err := os.WriteFile(path, c.YAML(Host), 0o600); err != nil {
			t.Fatal(err)
		}
		back, err := Load(Options{Program: Host, Path: path})
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
