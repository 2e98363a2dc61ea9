package vmmap

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/scaph/scaph/internal/proc"
)

func TestFind(t *testing.T) {
	m := NewMap([]VM{
		{UUID: "b", Process: proc.ID{PID: 20, Start: 7}, Helpers: []proc.ID{{PID: 21, Start: 8}}},
		{UUID: "a", Process: proc.ID{PID: 10, Start: 5}},
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

// A machine does not end because its process could not be read once.
func TestOneBadReadEndsNoMachine(t *testing.T) {
	h := newFakeHost(t, fakeProcess{pid: 14, exe: "/usr/bin/kvm", argv: []string{"-id", "100", "-name", "proxmox"}})
	m := h.mapper(nil)
	before := look(t, m)
	if len(before) != 1 {
		t.Fatalf("machines: %+v", before)
	}
	stat := filepath.Join(h.proc, "14", "stat")
	for _, content := range []string{"", "garbage (((\n", "15 (kvm) S 1\n"} {
		h.write(stat, content)
		if after := look(t, m); !reflect.DeepEqual(after, before) {
			t.Errorf("after reading %q: %+v", content, after)
		}
	}
	h.end(14)
	if after := look(t, m); len(after) != 0 {
		t.Errorf("it ended, and there is %+v", after)
	}
}
