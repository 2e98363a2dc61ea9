package bpf

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Names in the collection.
const (
	programTasks = "scaph_tasks" // iterator: a record of each task
	programFree  = "scaph_free"  // a record of each task that the kernel has done with
	mapFreed     = "scaph_freed" // ring buffer of what programFree tells
	mapLost      = "scaph_lost"  // one u64: records that found no room in it
)

// ringSize bounds what ends between two looks: 21,000 tasks. What does not fit is counted as lost.
const ringSize = 2 << 20

// collection puts the two programs together. They are declared under a licence that the kernel takes
// for the helpers they call (bpf_seq_write and bpf_probe_read_kernel are for GPL-compatible programs).
func collection(l layout, ringSize uint32) *ebpf.CollectionSpec {
	const license = "Dual MIT/GPL"
	return &ebpf.CollectionSpec{
		Maps: map[string]*ebpf.MapSpec{
			mapFreed: {Name: mapFreed, Type: ebpf.RingBuf, MaxEntries: ringSize},
			mapLost: {
				Name: mapLost, Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE,
			},
		},
		Programs: map[string]*ebpf.ProgramSpec{
			programTasks: {
				Name: programTasks, Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, AttachTo: "task",
				License: license, Instructions: tasksProgram(l),
			},
			programFree: {
				Name: programFree, Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: "sched_process_free",
				License: license, Instructions: freeProgram(l),
			},
		},
		ByteOrder: binary.NativeEndian,
	}
}

// tasksProgram is called by the kernel for each task with struct bpf_iter__task {meta, task}; task is
// NULL at the end.
func tasksProgram(l layout) asm.Instructions {
	const (
		contextMeta = 0 // struct bpf_iter_meta *, whose first field is the struct seq_file *
		contextTask = 8
	)
	program := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, contextTask, asm.DWord),
		asm.JEq.Imm(asm.R6, 0, "done"),
		asm.LoadMem(asm.R7, asm.R1, contextMeta, asm.DWord),
	}
	program = append(program, fillRecord(l)...)
	return append(program,
		asm.LoadMem(asm.R1, asm.R7, 0, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -recordSize),
		asm.Mov.Imm(asm.R3, recordSize),
		asm.FnSeqWrite.Call(), // a full buffer is the kernel's business: it calls again with an empty one
		asm.Mov.Imm(asm.R0, 0).WithSymbol("done"),
		asm.Return(),
	)
}

// freeProgram hangs at the tracepoint sched_process_free(struct task_struct *). The kernel comes there
// from an RCU callback, some 10 ms after the task ran for the last time and was waited for, so its run
// time is final. At sched_process_exit it is not: it lacks what ran since the last scheduler tick, and
// the taking down of its memory.
func freeProgram(l layout) asm.Instructions {
	program := asm.Instructions{asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord)}
	program = append(program, fillRecord(l)...)
	return append(program,
		asm.LoadMapPtr(asm.R1, 0).WithReference(mapFreed),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -recordSize),
		asm.Mov.Imm(asm.R3, recordSize),
		asm.Mov.Imm(asm.R4, noWakeup),
		asm.FnRingbufOutput.Call(),
		asm.JEq.Imm(asm.R0, 0, "done"),
		asm.LoadMapValue(asm.R1, 0, 0).WithReference(mapLost),
		asm.Mov.Imm(asm.R2, 1),
		asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("done"),
		asm.Return(),
	)
}

// noWakeup is BPF_RB_NO_WAKEUP: the reader looks by itself.
const noWakeup = 1

// fillRecord writes the record of the task in R6 to the bottom of the stack, and uses R1, R2, R3 and R8.
// Pointers are followed as they are: the kernel turns a load through a bad one into 0.
func fillRecord(l layout) asm.Instructions {
	const base = -recordSize
	var program asm.Instructions
	put := func(at int16, size asm.Size, path ...int16) {
		from := asm.R6
		for _, offset := range path[:len(path)-1] {
			program = append(program, asm.LoadMem(asm.R8, from, offset, asm.DWord))
			from = asm.R8
		}
		program = append(program,
			asm.LoadMem(asm.R1, from, path[len(path)-1], size),
			asm.StoreMem(asm.RFP, base+at, asm.R1, size))
	}
	program = append(program, asm.StoreMem(asm.RFP, base+atAddress, asm.R6, asm.DWord))
	put(atStart, asm.DWord, l.startTime)
	put(atLeaderStart, asm.DWord, l.groupLeader, l.startTime)
	put(atRuntime, asm.DWord, l.runtime)
	put(atDeadRuntime, asm.DWord, l.signal, l.deadRuntime)
	put(atCgroup, asm.DWord, l.cgroups, l.defaultCgroup, l.node, l.id)
	put(atPID, asm.Word, l.pid)
	put(atTGID, asm.Word, l.tgid)
	put(atParent, asm.Word, l.realParent, l.tgid)
	put(atFlags, asm.Word, l.flags)
	put(atCPU, asm.Word, l.cpu)
	return append(program,
		asm.StoreImm(asm.RFP, base+atPadding, 0, asm.Word),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, int32(base+atComm)),
		asm.Mov.Imm(asm.R2, commSize),
		asm.Mov.Reg(asm.R3, asm.R6),
		asm.Add.Imm(asm.R3, int32(l.comm)),
		asm.FnProbeReadKernel.Call(),
	)
}
