package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

const envPrefix = "SCAPH_"

// Options say where a configuration comes from. Everything but the Program is optional.
type Options struct {
	Program Program
	// Sections are those that parts bring, with their defaults. Load sets their values, and they are the Config's.
	Sections []Section
	Path     string            // of the YAML file, "" for none
	Flags    *pflag.FlagSet    // those that were set on the command line count
	Keys     map[string]string // name of a flag to the key that it sets; other flags are not looked at
	Env      []string          // as os.Environ gives it
	Warn     func(Problem)     // takes what is odd and does no harm: Why is a message for the log; nil: nobody wants to know
}

// Load reads, merges and validates. The error is an *Error, unless the file cannot be read.
func Load(o Options) (Config, error) {
	l := loader{
		keys:     keysOf(o.Program, o.Sections),
		sections: o.Sections,
		viper:    viper.New(),
		where:    map[string]string{},
		warn:     o.Warn,
	}
	if l.warn == nil {
		l.warn = func(Problem) {}
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

// A loader gathers values in a viper.Viper, and what is wrong with them.
type loader struct {
	keys     []key
	sections []Section
	viper    *viper.Viper
	where    map[string]string // key to the place that set it
	problems []Problem
	warn     func(Problem)
}

func (l *loader) problem(p Problem) { l.problems = append(l.problems, p) }

// unit keeps a map with free keys away from viper, which would fold their case and cut them at dots:
// it descends into map[string]any, and not into other types.
type unit map[string]any

// set takes a value from the file or the environment; a later one replaces an earlier one.
func (l *loader) set(name, where string, value any) {
	if m, ok := value.(map[string]any); ok {
		value = unit(m)
	}
	elements := strings.Split(name, ".")
	last := len(elements) - 1
	nested := map[string]any{elements[last]: value}
	for _, section := range slices.Backward(elements[:last]) {
		nested = map[string]any{section: nested}
	}
	if err := l.viper.MergeConfigMap(nested); err != nil {
		panic(err) // it has nothing left to parse, and reports nothing else
	}
	l.where[name] = where
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
	var old []movedNode
	l.section(path, "", document.Content[0], &old)
	l.takeMoved(path, old)
}

// isEmpty tells whether a YAML text holds no document at all, only comments.
func isEmpty(text []byte) bool {
	var node yaml.Node
	return yaml.Unmarshal(text, &node) == nil && node.IsZero()
}

// section takes the values of one mapping; prefix is "" or ends in a dot. Only known sections are
// descended into, so that no document is too deep.
func (l *loader) section(path, prefix string, node *yaml.Node, old *[]movedNode) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Tag == "!!null" { // an empty section
		return
	}
	at := func(n *yaml.Node) string { return position(path, n) }
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
		case l.moved(name) != nil:
			*old = append(*old, movedNode{name, value})
		case isSection(l.keys, name) || isMovedSection(name):
			l.section(path, name+".", value, old)
		default:
			l.problem(Problem{Where: at(node.Content[i]), Key: printable(name), Why: "no such key",
				Allowed: "did you mean " + nearest(name, ".", l.candidates()) + "?"})
		}
		seen[name] = true
	}
}

func position(path string, n *yaml.Node) string { return fmt.Sprintf("%s:%d", path, n.Line) }

func (l *loader) fileValue(k key, where string, node *yaml.Node) {
	var value any
	var err error
	if k.isMap() {
		value, err = names(node)
	} else {
		err = node.Decode(&value)
	}
	if err != nil {
		l.problem(Problem{Where: where, Key: k.name, Why: strings.TrimPrefix(err.Error(), "yaml: "), Allowed: "allowed: " + k.allowed})
		return
	}
	if value == nil {
		l.where[k.name] = where
		l.reject(k, "nothing", nil)
		return
	}
	l.set(k.name, where, value)
}

// names decodes a map with free keys. They are the names of things and stand for themselves, letter by
// letter: left to itself, YAML takes 107 for a number, 0107 for 71, 2024-01-01 for a date and ~ for nothing.
func names(node *yaml.Node) (map[string]any, error) {
	mapping := node
	if node.Kind == yaml.AliasNode {
		mapping = node.Alias
	}
	if mapping.Kind == yaml.MappingNode {
		for i := 0; i < len(mapping.Content); i += 2 {
			if key := mapping.Content[i]; key.Kind == yaml.ScalarNode && key.Tag != "!!merge" {
				key.Tag = "!!str"
			}
		}
	}
	m := map[string]any{}
	err := node.Decode(&m)
	return m, err
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

// notKeys are variables with our prefix that are no keys: secrets, which have no place in a file that people show around.
var notKeys = map[string]bool{"SCAPH_WARP10_WRITE_TOKEN": true}

// environment takes the values of variables that begin with SCAPH_. One that is no key is a warning only: others set such
// variables too, as Kubernetes does in every pod beside a Service whose name begins with "scaph".
func (l *loader) environment(env []string) {
	for _, variable := range slices.Sorted(slices.Values(env)) {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) || notKeys[name] {
			continue
		}
		i := slices.IndexFunc(l.keys, func(k key) bool { return k.env() == name })
		if i < 0 {
			if old, k := l.movedVariable(name); k != nil {
				set := slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, k.env()+"=") })
				l.warnMoved(name, old, k.name, set)
				if !set {
					l.set(k.name, name, value)
				}
				continue
			}
			names := make([]string, len(l.keys))
			for j, k := range l.keys {
				names[j] = k.env()
			}
			l.warn(Problem{
				Where: "environment", Key: printable(name),
				Why: "ignoring a variable that is no key of the configuration", Allowed: "did you mean " + nearest(name, "_", names) + "?",
			})
			continue
		}
		k := l.keys[i]
		if !k.isMap() {
			l.set(k.name, name, value)
			continue
		}
		var document yaml.Node // written as in the file
		m, err := map[string]any{}, yaml.Unmarshal([]byte(value), &document)
		if err == nil && !document.IsZero() {
			m, err = names(document.Content[0])
		}
		if err != nil {
			l.problem(Problem{Where: name, Key: k.name, Value: printable(value), Allowed: k.allowed})
			continue
		}
		l.set(k.name, name, m)
	}
}

// flags binds the flags that set keys. An error is a mistake of the caller's.
func (l *loader) flags(set *pflag.FlagSet, keys map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		flag := set.Lookup(name)
		if flag == nil || !slices.Contains(l.names(), keys[name]) {
			return fmt.Errorf("configuration: flag --%s cannot set %q: no such flag or key", name, keys[name])
		}
		if !flag.Changed {
			continue
		}
		if err := l.viper.BindPFlag(keys[name], flag); err != nil {
			return fmt.Errorf("configuration: flag --%s: %w", name, err)
		}
		l.where[keys[name]] = "--" + name
	}
	return nil
}

// decode makes the Config of what was gathered, over the defaults, and checks it.
func (l *loader) decode() Config {
	c := Default()
	c.Sections = l.sections
	var late []key // their defaults depend on other values
	for _, k := range l.keys {
		if !l.viper.IsSet(k.name) {
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
	if !l.viper.IsSet("tree.publish.jitter") {
		c.Tree.Publish.Jitter = min(c.Tree.Publish.Jitter, c.Tree.Publish.Interval/5)
	}
	if twice := c.Tree.Publish.canonical(); twice != "" {
		const name = "tree.publish.vms"
		l.problem(Problem{Where: l.where[name], Key: name, Why: printable(twice) + " stands here for the second time"})
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
	raw := l.viper.Get(k.name)
	if m, ok := raw.(unit); ok {
		raw = map[string]any(m)
	}
	target := reflect.New(k.field(c).Type())
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:      target.Interface(),
		DecodeHook:  mapstructure.DecodeHookFuncValue(convert),
		ErrorUnused: true,
		MatchName:   func(key, field string) bool { return key == field }, // keys have a case here too
	})
	if err == nil {
		err = decoder.Decode(raw)
	}
	if err != nil {
		l.reject(k, show(reflect.ValueOf(raw)), err)
		return
	}
	if k.isMap() && target.Elem().IsNil() {
		return // an empty map is the default
	}
	k.field(c).Set(target.Elem())
}

// reject notes that the value of a key is not allowed.
func (l *loader) reject(k key, value string, err error) {
	p := Problem{Where: l.where[k.name], Key: k.name, Value: value, Allowed: k.allowed}
	if what := hint(""); err != nil && (k.isMap() || errors.As(err, &what)) {
		p.Why = reason(err) // which of its elements is the problem, or what to write
	}
	l.problem(p)
}
