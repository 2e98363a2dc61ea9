package bpf

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Names in the collection.
const (
	programTasks = "scaph_tasks" // iterator: a record of each task, where there is no walk
	programExit  = "scaph_exit"  // a record of each task that begins to end
	programFree  = "scaph_free"  // a record of each task that the kernel has done with
	mapEnds      = "scaph_ends"  // ring buffer of what these two tell
	mapLost      = "scaph_lost"  // one u64: records that found no room in it
)

// Names of a walk's parts, which are loaded by themselves.
const (
	programWalk = "scaph_walk"   // a record of each task, at once
	mapWalked   = "scaph_walked" // these records
)

// license is one that the kernel takes for the helpers that the programs call (bpf_seq_write and bpf_probe_read_kernel
// are for GPL-compatible programs).
const license = "Dual MIT/GPL"

// ringSize is the room in the kernel for what ends until the drain has woken up: 5,000 tasks, with two records of 104
// bytes each, of which a quarter is full by then. Two CPUs that do nothing but start programs end some 1,500 in a second.
// Nothing is charged wrongly where it is too small: what does not fit is counted and told as faults of the look, and
// its time shows as unseen. It is not larger because the kernel has its pages mapped twice, and twice they count as
// this program's memory.
const ringSize = 1 << 20

// collection puts the programs together that are always loaded.
func collection(l layout, ringSize uint32) *ebpf.CollectionSpec {
	return &ebpf.CollectionSpec{
		Maps: map[string]*ebpf.MapSpec{
			mapEnds: {Name: mapEnds, Type: ebpf.RingBuf, MaxEntries: ringSize},
			mapLost: {
				Name: mapLost, Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE,
			},
		},
		Programs: map[string]*ebpf.ProgramSpec{
			programTasks: {
				Name: programTasks, Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, AttachTo: "task",
				License: license, Instructions: tasksProgram(l),
			},
			programExit: {
				Name: programExit, Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: "sched_process_exit",
				License: license, Instructions: endProgram(l, kindExit, ringSize/4),
			},
			programFree: {
				Name: programFree, Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: "sched_process_free",
				License: license, Instructions: endProgram(l, kindFree, ringSize/4),
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
	program = append(program, fillRecord(l, kindListed, asm.RFP, -recordSize)...)
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

// endProgram hangs at the tracepoints sched_process_exit(struct task_struct *, …) and
// sched_process_free(struct task_struct *). At exit, the task's run time lacks what ran since the last
// scheduler tick, and the taking down of its memory is still to come. To free, the kernel comes from an
// RCU callback, some 10 ms after the task ran for the last time and was waited for, and
// its run time is final. Now and then (one task in some thousands, on Linux 6.18) the second is never
// told, which is why both are used. The reader is woken while the buffer holds more than wakeAt bytes.
func endProgram(l layout, kind int64, wakeAt uint32) asm.Instructions {
	program := asm.Instructions{asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord)}
	program = append(program, fillRecord(l, kind, asm.RFP, -recordSize)...)
	return append(program,
		asm.LoadMapPtr(asm.R1, 0).WithReference(mapEnds),
		asm.Mov.Imm(asm.R2, availableData),
		asm.FnRingbufQuery.Call(),
		asm.Mov.Imm(asm.R4, noWakeup),
		asm.JLE.Imm(asm.R0, int32(wakeAt), "output"),
		asm.Mov.Imm(asm.R4, forceWakeup),
		asm.Mov.Reg(asm.R2, asm.RFP).WithSymbol("output"),
		asm.Add.Imm(asm.R2, -recordSize),
		asm.Mov.Imm(asm.R3, recordSize),
		asm.LoadMapPtr(asm.R1, 0).WithReference(mapEnds),
		asm.FnRingbufOutput.Call(),
		asm.JEq.Imm(asm.R0, 0, "done"),
		asm.LoadMapValue(asm.R1, 0, 0).WithReference(mapLost),
		asm.Mov.Imm(asm.R2, 1),
		asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("done"),
		asm.Return(),
	)
}

// Constants of include/uapi/linux/bpf.h.
const (
	availableData = 0 // BPF_RB_AVAIL_DATA: bytes in the ring buffer that nobody has read
	noWakeup      = 1 // BPF_RB_NO_WAKEUP
	forceWakeup   = 2 // BPF_RB_FORCE_WAKEUP
)

// fillRecord writes the record of the task in R6 to memory at an offset from the register base, and uses R1 to R5 and R8.
// Pointers are followed as they are: the kernel turns a load through a bad one into 0.
func fillRecord(l layout, kind int64, base asm.Register, offset int16) asm.Instructions {
	var program asm.Instructions
	put := func(at int16, size asm.Size, path ...int16) {
		from := asm.R6
		for _, field := range path[:len(path)-1] {
			program = append(program, asm.LoadMem(asm.R8, from, field, asm.DWord))
			from = asm.R8
		}
		program = append(program,
			asm.LoadMem(asm.R1, from, path[len(path)-1], size),
			asm.StoreMem(base, offset+at, asm.R1, size))
	}
	program = append(program, asm.StoreMem(base, offset+atAddress, asm.R6, asm.DWord))
	put(atStart, asm.DWord, l.startTime)
	put(atLeaderStart, asm.DWord, l.groupLeader, l.startTime)
	put(atRuntime, asm.DWord, l.runtime)
	put(atDeadRuntime, asm.DWord, l.signal, l.deadRuntime)
	put(atCgroup, asm.DWord, l.cgroups, l.defaultCgroup, l.node, l.id)
	put(atPID, asm.Word, l.pid)
	put(atTGID, asm.Word, l.tgid)
	put(atParent, asm.Word, l.realParent, l.tgid)
	put(atParentBegan, asm.DWord, l.realParent, l.groupLeader, l.startTime)
	put(atFlags, asm.Word, l.flags)
	put(atCPU, asm.Word, l.cpu)
	return append(program,
		asm.StoreImm(base, offset+atKind, kind, asm.Word),
		asm.Mov.Reg(asm.R1, base),
		asm.Add.Imm(asm.R1, int32(offset)+atComm),
		asm.Mov.Imm(asm.R2, commSize),
		asm.Mov.Reg(asm.R3, asm.R6),
		asm.Add.Imm(asm.R3, int32(l.comm)),
		asm.FnProbeReadKernel.Call(),
	)
}
