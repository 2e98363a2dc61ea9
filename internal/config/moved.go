package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A move is a key that had another name in earlier versions. The old name is still taken, with a warning; where both are
// set in one place, the new one counts.
type move struct{ from, to string }

// moves lists them all. None of them is a map.
func moves() []move {
	return []move{
		{"prometheus.listen", "web.listen"},
		{"prometheus.web_config", "web.config"},
		{"prometheus.processes.top", "processes.top"},
	}
}

// A movedNode is what a file has under an old name.
type movedNode struct {
	name  string
	value *yaml.Node
}

// moved returns the key that an old name stands for, nil where it stands for none.
func (l *loader) moved(name string) *key {
	for _, m := range moves() {
		if m.from != name {
			continue
		}
		if i := slices.IndexFunc(l.keys, func(k key) bool { return k.name == m.to }); i >= 0 {
			return &l.keys[i]
		}
	}
	return nil
}

// movedVariable returns the key that a variable stands for by the key's old name, and that name.
func (l *loader) movedVariable(variable string) (string, *key) {
	for _, m := range moves() {
		if (key{name: m.from}).env() == variable {
			return m.from, l.moved(m.from)
		}
	}
	return "", nil
}

// isMovedSection says whether name is a prefix of some old name.
func isMovedSection(name string) bool {
	return slices.ContainsFunc(moves(), func(m move) bool { return strings.HasPrefix(m.from, name+".") })
}

// takeMoved takes the values that a file has under old names, once all of it was read.
func (l *loader) takeMoved(path string, old []movedNode) {
	for _, o := range old {
		k, where := l.moved(o.name), position(path, o.value)
		_, set := l.where[k.name]
		l.warnMoved(where, o.name, k.name, set)
		if !set {
			l.fileValue(*k, where, o.value)
		}
	}
}

func (l *loader) warnMoved(where, from, to string, ignored bool) {
	p := Problem{Where: where, Key: from, Why: "configuration key has moved", Allowed: "write " + to}
	if ignored {
		p.Why, p.Allowed = "ignoring a configuration key that has moved", to+" is set too"
	}
	l.warn(p)
}
