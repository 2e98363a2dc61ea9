package bpf

import (
	"testing"

	"github.com/cilium/ebpf/btf"
)

func TestOffsetOf(t *testing.T) {
	number := &btf.Int{Name: "u64", Size: 8}
	member := func(name string, typ btf.Type, at uint32) btf.Member {
		return btf.Member{Name: name, Type: typ, Offset: btf.Bits(at * 8)}
	}
	entity := &btf.Typedef{Name: "entity_t", Type: &btf.Struct{Name: "sched_entity", Members: []btf.Member{
		member("load", number, 0), member("sum_exec_runtime", number, 8),
	}}}
	// As with randomised layout: most of the task is in an anonymous member.
	task := []btf.Member{
		member("thread_info", &btf.Struct{Members: []btf.Member{member("flags", number, 0)}}, 0),
		member("", &btf.Union{Members: []btf.Member{member("", &btf.Struct{Members: []btf.Member{
			member("se", &btf.Const{Type: entity}, 16), member("cpu", number, 40),
		}}, 0)}}, 100),
		member("pid", number, 300),
	}
	for path, want := range map[string]uint32{"se.sum_exec_runtime": 124, "cpu": 140, "pid": 300, "thread_info.flags": 0} {
		if got, ok := offsetOf(task, path); !ok || got != want {
			t.Errorf("%s at %d, %v", path, got, ok)
		}
	}
	for _, path := range []string{"thread_info.cpu", "sum_exec_runtime", "se.x", "pid.x", "x"} {
		if got, ok := offsetOf(task, path); ok {
			t.Errorf("%s at %d", path, got)
		}
	}
}
