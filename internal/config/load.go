package config

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

const envPrefix = "SCAPH_"

// Options say where a configuration comes from. Everything but the Program is optional.
type Options struct {
	Program Program
	Path    string            // of the YAML file, "" for none
	Flags   *pflag.FlagSet    // those that were set on the command line count
	Keys    map[string]string // name of a flag to the key that it sets; other flags are not looked at
	Env     []string          // as os.Environ gives it
}

// Load reads, merges and validates. The error is an *Error, unless the file cannot be read.
func Load(o Options) (Config, error) {
	l := loader{
		keys:   keysOf(o.Program),
		values: map[string]any{},
		where:  map[string]string{},
	}
	if o.Path != "" {
		text, err := os.ReadFile(o.Path)
		if err != nil {
			return Config{}, fmt.Errorf("configuration: %w", err)
		}
		l.file(o.Path, text)
	}
	l.environment(o.Env)
	if err := l.flags(o.Flags, o.Keys); err != nil {
		return Config{}, err
	}
	c := l.decode()
	if len(l.problems) > 0 {
		return Config{}, &Error{Problems: l.problems}
	}
	return c, nil
}

// A loader gathers values, and what is wrong with them.
type loader struct {
	keys     []key
	values   map[string]any    // by key
	where    map[string]string // key to the place that set it
	problems []Problem
}

func (l *loader) problem(p Problem) { l.problems = append(l.problems, p) }

// set takes a value from the file or the environment; a later one replaces an earlier one.
func (l *loader) set(name, where string, value any) {
	l.values[name], l.where[name] = value, where
}

// file takes the values of a YAML document.
func (l *loader) file(path string, text []byte) {
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if len(document.Content) > 0 || !isEmpty(text) {
			l.problem(Problem{Where: path, Key: "file", Why: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")})
		}
		return
	}
	if decoder.Decode(&second) == nil {
		l.problem(Problem{Where: fmt.Sprintf("%s:%d", path, second.Line), Key: "file", Why: "a second document would be ignored"})
	}
	l.section(path, "", document.Content[0])
}

// isEmpty tells whether a YAML text holds no document at all, only comments.
func isEmpty(text []byte) bool {
	var node yaml.Node
	return yaml.Unmarshal(text, &node) == nil && node.IsZero()
}

// section takes the values of one mapping; prefix is "" or ends in a dot. Only known sections are
// descended into, so that no document is too deep.
func (l *loader) section(path, prefix string, node *yaml.Node) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Tag == "!!null" { // an empty section
		return
	}
	at := func(n *yaml.Node) string { return fmt.Sprintf("%s:%d", path, n.Line) }
	if node.Kind != yaml.MappingNode {
		name := strings.TrimSuffix(prefix, ".")
		if name == "" {
			name = "file"
		}
		l.problem(Problem{Where: at(node), Key: name, Why: "a section is expected here", Allowed: "its keys: " + strings.Join(l.children(prefix), ", ")})
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := prefix+node.Content[i].Value, node.Content[i+1]
		k := slices.IndexFunc(l.keys, func(k key) bool { return k.name == name })
		switch {
		case seen[name]:
			l.problem(Problem{Where: at(node.Content[i]), Key: name, Why: "stands here for the second time"})
		case k >= 0:
			l.fileValue(l.keys[k], at(value), value)
		case isSection(l.keys, name):
			l.section(path, name+".", value)
		default:
			l.problem(Problem{Where: at(node.Content[i]), Key: printable(name), Why: "no such key",
				Allowed: "did you mean " + nearest(name, ".", l.candidates()) + "?"})
		}
		seen[name] = true
	}
}

func (l *loader) fileValue(k key, where string, node *yaml.Node) {
	var value any
	if err := node.Decode(&value); err != nil {
		l.problem(Problem{Where: where, Key: k.name, Why: strings.TrimPrefix(err.Error(), "yaml: "), Allowed: "allowed: " + k.allowed})
		return
	}
	if value == nil && !k.isMap(new(Config)) {
		l.where[k.name] = where
		l.reject(k, "nothing", nil)
		return
	}
	l.set(k.name, where, value)
}

// children lists what may stand in a section.
func (l *loader) children(prefix string) []string {
	var names []string
	for _, k := range l.keys {
		if rest, ok := strings.CutPrefix(k.name, prefix); ok {
			name, _, _ := strings.Cut(rest, ".")
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func (l *loader) names() []string {
	names := make([]string, len(l.keys))
	for i, k := range l.keys {
		names[i] = k.name
	}
	return names
}

// candidates are the names of all keys and sections.
func (l *loader) candidates() []string {
	names := l.names()
	for _, name := range l.names() {
		for i, c := range name {
			if c == '.' && !slices.Contains(names, name[:i]) {
				names = append(names, name[:i])
			}
		}
	}
	return names
}

// Variables with our prefix that are no keys: secrets, which have no place in a file that people
// show around, and what Kubernetes sets in every pod for a service whose name begins with "scaph".
var notKeys = regexp.MustCompile(`^SCAPH_(WARP10_WRITE_TOKEN|([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PORT|PROTO|ADDR))?)?))$`)

// environment takes the values of variables that begin with SCAPH_.
func (l *loader) environment(env []string) {
	for _, variable := range slices.Sorted(slices.Values(env)) {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) || notKeys.MatchString(name) {
			continue
		}
		i := slices.IndexFunc(l.keys, func(k key) bool { return k.env() == name })
		if i < 0 {
			names := make([]string, len(l.keys))
			for j, k := range l.keys {
				names[j] = k.env()
			}
			l.problem(Problem{Where: "environment", Key: printable(name), Why: "no such variable", Allowed: "did you mean " + nearest(name, "_", names) + "?"})
			continue
		}
		k := l.keys[i]
		if !k.isMap(new(Config)) {
			l.set(k.name, name, value)
			continue
		}
		var m map[string]any // written as in the file
		if err := yaml.Unmarshal([]byte(value), &m); err != nil {
			l.problem(Problem{Where: name, Key: k.name, Value: printable(value), Allowed: k.allowed})
			continue
		}
		l.set(k.name, name, m)
	}
}

// flags takes the values of flags that set keys. An error is a mistake of the caller's.
func (l *loader) flags(set *pflag.FlagSet, keys map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		flag := set.Lookup(name)
		if flag == nil || !slices.Contains(l.names(), keys[name]) {
			return fmt.Errorf("configuration: flag --%s cannot set %q: no such flag or key", name, keys[name])
		}
		if !flag.Changed {
			continue
		}
		l.set(keys[name], "--"+name, flag.Value.String())
	}
	return nil
}

// decode makes the Config of what was gathered, over the defaults, and checks it.
func (l *loader) decode() Config {
	c := Default()
	var late []key // their defaults depend on other values
	for _, k := range l.keys {
		if l.values[k.name] == nil {
			continue
		}
		if strings.HasPrefix(k.name, "tree.publish.") && k.name != "tree.publish.profile" {
			late = append(late, k)
			continue
		}
		l.value(&c, k)
	}
	c.Tree.Publish.Policy = c.Tree.Publish.Profile.policy()
	c.Tree.Publish.Interval = max(c.Tree.Publish.Interval, c.Interval)
	for _, k := range late {
		l.value(&c, k)
	}
	if l.values["tree.publish.jitter"] == nil {
		c.Tree.Publish.Jitter = min(c.Tree.Publish.Jitter, c.Tree.Publish.Interval/5)
	}
	c.check(func(name string) {
		k := l.keys[slices.IndexFunc(l.keys, func(k key) bool { return k.name == name })]
		if !slices.ContainsFunc(l.problems, func(p Problem) bool { return p.Key == name }) {
			l.reject(k, show(k.field(&c)), nil)
		}
	}, l.keys)
	return c
}

// value decodes one value into its field.
func (l *loader) value(c *Config, k key) {
	raw := l.values[k.name]
	target := reflect.New(k.field(c).Type())
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:      target.Interface(),
		DecodeHook:  mapstructure.DecodeHookFuncValue(convert),
		ErrorUnused: true,
	})
	if err == nil {
		err = decoder.Decode(raw)
	}
	if err != nil {
		l.reject(k, show(reflect.ValueOf(raw)), err)
		return
	}
	if k.isMap(c) && target.Elem().IsNil() {
		return // an empty map is the default
	}
	k.field(c).Set(target.Elem())
}

// reject notes that the value of a key is not allowed.
func (l *loader) reject(k key, value string, err error) {
	p := Problem{Where: l.where[k.name], Key: k.name, Value: value, Allowed: k.allowed}
	if k.isMap(new(Config)) && err != nil {
		p.Why = reason(err) // which of its elements is the problem
	}
	l.problem(p)
}
