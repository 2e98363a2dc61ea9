package vmmap

import "testing"

func TestFind(t *testing.T) {
	m := NewMap([]VM{
		{UUID: "b", Process: Process{PID: 20, Start: 7}, Helpers: []Process{{PID: 21, Start: 8}}},
		{UUID: "a", Process: Process{PID: 10, Start: 5}},
	}, "")
	for _, c := range []struct {
		what  string
		pid   int32
		start uint64
		want  string // UUID, "" for none
	}{
		{"a qemu", 10, 5, "a"},
		{"a helper", 21, 8, "b"},
		{"an id that was used again", 10, 6, ""},
		{"an unknown process", 11, 5, ""},
		{"whoever has the id now", 20, 0, "b"},
		{"nobody has the id", 22, 0, ""},
	} {
		i, ok := m.Find(c.pid, c.start)
		if ok != (c.want != "") || ok && m.VMs[i].UUID != c.want {
			t.Errorf("%s: index %d, %v; want %q", c.what, i, ok, c.want)
		}
	}
}
