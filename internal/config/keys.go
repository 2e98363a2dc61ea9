package config

import (
	"reflect"
	"slices"
	"strings"
)

// A key is one leaf of the configuration: a value, not a section.
type key struct {
	name    string       // "tree.publish.quantum"
	section string       // that brings the key; "" for those of Config itself
	index   []int        // of the field in Config or in the section's values, for reflect
	typ     reflect.Type // of the field
	allowed string       // for people
	oneof   []string
}

// field returns the key's field in c.
func (k key) field(c *Config) reflect.Value {
	if k.section == "" {
		return reflect.ValueOf(c).Elem().FieldByIndex(k.index)
	}
	i := slices.IndexFunc(c.Sections, func(s Section) bool { return s.Name == k.section })
	return reflect.ValueOf(c.Sections[i].Values).Elem().FieldByIndex(k.index)
}

// isMap says that the value is a map whose own keys are free (names of zones or VMs).
func (k key) isMap() bool { return k.typ.Kind() == reflect.Map }

// env is the key's environment variable: SCAPH_TREE_PUBLISH_QUANTUM.
func (k key) env() string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(k.name))
}

// keysOf lists the keys that the program knows, in the order of the struct, and then of the sections.
func keysOf(p Program, sections []Section) []key {
	keys := appendKeys(nil, p, reflect.TypeFor[Config](), "", nil)
	for _, s := range sections {
		own := appendKeys(nil, p, reflect.TypeOf(s.Values).Elem(), s.Name+".", nil)
		for i := range own {
			own[i].section = s.Name
		}
		keys = append(keys, own...)
	}
	return keys
}

func appendKeys(keys []key, p Program, t reflect.Type, prefix string, index []int) []key {
	for f := range t.Fields() {
		if p == Guest && f.Tag.Get("scope") == "host" {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("mapstructure"), ",")
		if name == "-" {
			continue
		}
		at := append(index[:len(index):len(index)], f.Index...)
		switch {
		case options == "squash":
			keys = appendKeys(keys, p, f.Type, prefix, at)
		case f.Type.Kind() == reflect.Struct:
			keys = appendKeys(keys, p, f.Type, prefix+name+".", at)
		default:
			k := key{name: prefix + name, index: at, typ: f.Type, allowed: f.Tag.Get("allowed")}
			if oneof := f.Tag.Get("oneof"); oneof != "" {
				k.oneof = strings.Fields(oneof)
				k.allowed = enumeration(k.oneof)
			}
			keys = append(keys, k)
		}
	}
	return keys
}

// enumeration writes "a, b or c".
func enumeration(values []string) string {
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// isSection says whether name is a prefix of some key.
func isSection(keys []key, name string) bool {
	for _, k := range keys {
		if strings.HasPrefix(k.name, name+".") {
			return true
		}
	}
	return false
}

// nearest gives the candidate that was probably meant by name: the one with the least edit distance,
// where a right last element in the wrong section counts as one edit.
func nearest(name, separator string, candidates []string) string {
	best, bestDistance := "", int(^uint(0)>>1)
	for _, c := range candidates {
		d := min(distance(name, c), 1+distance(last(name, separator), last(c, separator)))
		if d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

func last(name, separator string) string { return name[strings.LastIndex(name, separator)+1:] }

// distance is the Levenshtein distance in bytes. What comes in is cut, so that a hostile key costs nothing.
func distance(a, b string) int {
	a = a[:min(len(a), 100)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
