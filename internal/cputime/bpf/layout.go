package bpf

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// layout holds the byte offsets of the kernel's fields that the programs read, on this kernel.
type layout struct {
	// struct task_struct
	pid, tgid, flags, comm, cpu, runtime, startTime int16
	groupLeader, realParent, signal, cgroups        int16
	deadRuntime                                     int16 // struct signal_struct
	defaultCgroup, node, id                         int16 // struct css_set, cgroup, kernfs_node
}

// readLayout finds the fields in the kernel's own description of its types (BTF).
func readLayout(kernel *btf.Spec) (layout, error) {
	var l layout
	for _, field := range []struct {
		to    *int16
		typ   string
		paths []string // the first that exists
	}{
		{&l.pid, "task_struct", []string{"pid"}},
		{&l.tgid, "task_struct", []string{"tgid"}},
		{&l.flags, "task_struct", []string{"flags"}},
		{&l.comm, "task_struct", []string{"comm"}},
		// The CPU last run on: since Linux 5.16 in thread_info on all architectures, before in either;
		// where thread_info is not in the task, the CPU it was last woken on is next best.
		{&l.cpu, "task_struct", []string{"cpu", "thread_info.cpu", "wake_cpu"}},
		{&l.runtime, "task_struct", []string{"se.sum_exec_runtime"}},
		{&l.startTime, "task_struct", []string{"start_boottime", "real_start_time"}},
		{&l.groupLeader, "task_struct", []string{"group_leader"}},
		{&l.realParent, "task_struct", []string{"real_parent"}},
		{&l.signal, "task_struct", []string{"signal"}},
		{&l.cgroups, "task_struct", []string{"cgroups"}},
		{&l.deadRuntime, "signal_struct", []string{"sum_sched_runtime"}},
		{&l.defaultCgroup, "css_set", []string{"dfl_cgrp"}},
		{&l.node, "cgroup", []string{"kn"}},
		{&l.id, "kernfs_node", []string{"id"}},
	} {
		var s *btf.Struct
		if err := kernel.TypeByName(field.typ, &s); err != nil {
			return l, fmt.Errorf("find struct %s in the kernel's BTF: %w", field.typ, err)
		}
		found := false
		for _, path := range field.paths {
			var offset uint32
			if offset, found = offsetOf(s.Members, path); found {
				if offset > 1<<15-1 {
					return l, fmt.Errorf("field %s of struct %s is out of reach of BPF, at byte %d", path, field.typ, offset)
				}
				*field.to = int16(offset)
				break
			}
		}
		if !found {
			return l, fmt.Errorf("struct %s of this kernel has no field %s", field.typ, strings.Join(field.paths, " or "))
		}
	}
	return l, nil
}

// offsetOf finds a field by its path ("se.sum_exec_runtime"), in anonymous members too.
func offsetOf(members []btf.Member, path string) (uint32, bool) {
	name, rest, nested := strings.Cut(path, ".")
	for _, m := range members {
		inner := path // an anonymous member holds the whole path
		switch {
		case m.Name == name && !nested:
			return m.Offset.Bytes(), true
		case m.Name == name:
			inner = rest
		case m.Name != "":
			continue
		}
		if offset, ok := offsetOf(membersOf(m.Type), inner); ok {
			return m.Offset.Bytes() + offset, true
		}
	}
	return 0, false
}

func membersOf(t btf.Type) []btf.Member {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		return t.Members
	case *btf.Union:
		return t.Members
	}
	return nil
}
