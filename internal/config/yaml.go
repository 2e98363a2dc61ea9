package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"
)

// YAML writes the configuration as a file that Load reads back, all keys of the program in their order.
func (c Config) YAML(p Program) []byte {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, k := range keysOf(p, c.Sections) {
		section := root
		elements := strings.Split(k.name, ".")
		for _, name := range elements[:len(elements)-1] {
			section = child(section, name)
		}
		value := &yaml.Node{}
		// Strings, numbers, booleans and maps of them always encode.
		_ = value.Encode(plain(k.field(&c)))
		if value.Kind != yaml.ScalarNode {
			value.Style = yaml.FlowStyle
		}
		section.Content = append(section.Content, scalar(elements[len(elements)-1]), value)
	}
	text, err := yaml.Marshal(root)
	if err != nil {
		panic(err) // a tree of scalars and maps always marshals
	}
	return text
}

// child gives the mapping node under name, made where it is missing.
func child(node *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1]
		}
	}
	section := &yaml.Node{Kind: yaml.MappingNode}
	node.Content = append(node.Content, scalar(name), section)
	return section
}

func scalar(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

// plain gives a value as YAML knows it.
func plain(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case Switch:
		if on, err := strconv.ParseBool(string(value)); err == nil {
			return on
		}
		return string(value)
	case fmt.Stringer: // time.Duration, Energy
		return value.String()
	case map[string]VMPublish:
		m := map[string]map[string]string{}
		for vm, override := range value {
			m[vm] = map[string]string{"profile": string(override.Profile)}
		}
		return m
	default:
		return value
	}
}

// Diff lists the keys in which two configurations with the same sections differ, in their order.
func Diff(a, b Config) []string {
	var names []string
	for _, k := range keysOf(Host, a.Sections) {
		if !reflect.DeepEqual(k.field(&a).Interface(), k.field(&b).Interface()) {
			names = append(names, k.name)
		}
	}
	return names
}

// show writes a value for a message, cut and with nothing that a terminal would obey.
func show(v reflect.Value) string {
	if !v.IsValid() {
		return "nothing"
	}
	value := plain(v)
	if s, ok := value.(string); ok {
		return printable(s)
	}
	return printable(fmt.Sprint(value))
}

// printable quotes text unless it is a plain word.
func printable(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	quoted := strconv.Quote(s)
	if s == "" || strings.Contains(s, " ") || quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

// reason takes the decoder's list of errors down to what a person needs.
func reason(err error) string {
	var decode *mapstructure.DecodeError
	if errors.As(err, &decode) {
		text := decode.Unwrap().Error()
		if name := decode.Name(); name != "" {
			text = name + ": " + text
		}
		return printableReason(text)
	}
	return printableReason(err.Error())
}

func printableReason(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
