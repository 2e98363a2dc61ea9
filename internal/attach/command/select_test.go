package command

import (
	"slices"
	"strings"
	"testing"

	"github.com/scaph/scaph/internal/vmmap"
)

func TestSelect(t *testing.T) {
	domains := []vmmap.Domain{
		{Name: "web-2", UUID: uuidDB}, {Name: "web-1", UUID: uuidWeb}, {Name: "db", UUID: "11111111-0000-4000-8000-00000000000a"},
		{Name: "a[b]", UUID: "3"}, {Name: "ab", UUID: "4"}, {Name: "*", UUID: "5"}, {Name: uuidDB[:35] + "9", UUID: "6"}, {Name: `back\slash`, UUID: "7"},
		{Name: "Ümlaut é", UUID: "8"},
	}
	for _, c := range []struct {
		arguments string // by comma
		want      string
		err       string
	}{
		{"db", "db", ""},
		{"web-*", "web-1,web-2", ""},
		{"web-2,web-1,web-?", "web-1,web-2", ""},
		{strings.ToUpper(uuidWeb), "web-1", ""},
		{"11111111-0000-4000-8000-00000000000A", "db", ""},
		{"a[b]", "a[b]", ""}, // a name before a pattern
		{"[a]b", "ab", ""},
		{"*", "*", ""},
		{`\*`, "*", ""},
		{"?", "*", ""},
		{`back\slash`, `back\slash`, ""},
		{"??mlaut*", "", "no VM has such a name"},
		{"?mlaut*", "Ümlaut é", ""},
		{uuidDB[:35] + "9", uuidDB[:35] + "9", ""},
		{"web-3", "", "web-3: libvirt has no VM of this name or UUID: did you mean web-1 or web-2?"},
		{"wbe-1", "", "did you mean web-1"},
		{"bd", "", "see `scaph-host vms`"}, // of two letters, two are wrong
		{"WEB", "", "did you mean web-1 or web-2?"},
		{"nothing-like-it-at-all", "", "see `scaph-host vms`"},
		{"x*", "", "x*: no VM has such a name"},
		{"[", "", "as a pattern it has a mistake"},
		{"db,nope-nope,x*", "", "nope-nope: libvirt has no VM"},
		{"", "", `"": libvirt has no VM`},
		{"a\x1b[31m", "", `"a\x1b[31m"`},
	} {
		got, err := Select(domains, strings.Split(c.arguments, ","), false)
		var names []string
		for _, d := range got {
			names = append(names, d.Name)
		}
		if strings.Join(names, ",") != c.want || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %q, %v", c.arguments, names, err)
		}
	}
	if all, err := Select(domains, nil, true); err != nil || len(all) != len(domains) || !slices.IsSortedFunc(all, func(a, b vmmap.Domain) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("all: %v, %v", all, err)
	}
	if domains[0].Name != "web-2" {
		t.Error("the caller's list was changed")
	}
}

func TestHandle(t *testing.T) {
	for name, want := range map[string]string{"web-1.example": "web-1.example", "-rf": "U", "a b": "U", "$(id)": "U", "a;b": "U", "é": "U", "": ""} {
		if got := handle(vmmap.Domain{Name: name, UUID: "U"}); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}
