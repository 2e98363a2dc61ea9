package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// A walk is a look at all tasks by a program that goes along the kernel's list of them itself, where the kernel
// lets programs do so (Linux 6.7). It costs a quarter of what the iterator behind a file costs, which looks each
// task up by its id and counts a reference to it: with thousands of tasks nearly all the cost is
// memory that is not in the processor's cache, and each look-up touches more of it.
//
// The records are written to memory that this side has mapped. There is room for a number of tasks; where there are
// more, the program stops, and the walk is made anew with twice the room.
type walk struct {
	layout  layout
	calls   kernelFunctions
	room    int // tasks
	most    int // bound of room
	program *ebpf.Program
	array   *ebpf.Map
	memory  []byte // of array: how many tasks the program met, then their records
}

// Bounds of room.
const (
	firstRoom = 4096

	// mostRoom bounds how long one walk takes, because it cannot pause: until its end it holds back the kernel's RCU
	// grace periods and, in a kernel that does not preempt itself, whoever waits for the CPU. At 0.15 µs for a task,
	// or 0.4 µs where its memory is in no cache, these are 5 to 13 ms, about as long as the scheduler may let any process
	// wait for another. Where there are more tasks, the iterator does it, which pauses after each few hundred.
	mostRoom = 32768
)

var (
	// errNoWalk says that the kernel lacks what a walk takes.
	errNoWalk = errors.New("the kernel lets no program walk through its tasks (Linux 6.7 does)")
	// errCrowd says that there are more tasks than a walk is allowed.
	errCrowd = errors.New("too many tasks for one walk")
)

// kernelFunctions are the instructions that call functions of the kernel's, by name.
type kernelFunctions map[string]asm.Instruction

func findFunctions(kernel *btf.Spec) (kernelFunctions, error) {
	calls := make(kernelFunctions, 5)
	for _, name := range []string{
		"bpf_rcu_read_lock", "bpf_rcu_read_unlock", "bpf_iter_task_new", "bpf_iter_task_next", "bpf_iter_task_destroy",
	} {
		var function *btf.Func
		if err := kernel.TypeByName(name, &function); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errNoWalk, name, err)
		}
		id, err := kernel.TypeID(function)
		if err != nil {
			return nil, fmt.Errorf("find %s in the kernel's BTF: %w", name, err)
		}
		calls[name] = asm.Instruction{
			OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoKfuncCall, Constant: int64(id),
		}
	}
	return calls, nil
}

// newWalk makes a walk with room for so many tasks at first, and for so many at most.
func newWalk(kernel *btf.Spec, l layout, first, most int) (*walk, error) {
	calls, err := findFunctions(kernel)
	if err != nil {
		return nil, err
	}
	w := &walk{layout: l, calls: calls, room: first, most: most}
	if err := w.load(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// load brings the program and its memory into the kernel, for w.room tasks.
func (w *walk) load() (err error) {
	size := walkHeader + w.room*recordSize
	w.array, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: mapWalked, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(size), MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE,
	})
	if err != nil {
		return fmt.Errorf("make the map of tasks: %w", err)
	}
	// The library would copy out of its mapping: with thousands of tasks that is a good part of a look.
	if w.memory, err = unix.Mmap(w.array.FD(), 0, size, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map the tasks to memory: %w", err)
	}
	w.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: programWalk, Type: ebpf.Syscall, Flags: unix.BPF_F_SLEEPABLE, License: license,
		Instructions: walkProgram(w.layout, w.calls, w.array.FD(), w.room),
	})
	if err != nil {
		return fmt.Errorf("load the program that walks through tasks: %w", err)
	}
	return nil
}

// records gives the records of all tasks, in memory that is good until the next call. It fails with errCrowd where there
// are too many of them; after another error the walk can only be closed.
func (w *walk) records() ([]byte, error) {
	for {
		n, err := w.program.Run(&ebpf.RunOptions{})
		if err != nil {
			return nil, fmt.Errorf("walk through tasks: %w", err)
		}
		if int(n) <= w.room {
			return w.memory[walkHeader : walkHeader+int(n)*recordSize], nil
		}
		if w.room >= w.most {
			return nil, errCrowd
		}
		if err := w.close(); err != nil {
			return nil, err
		}
		w.room = min(2*w.room, w.most)
		if err := w.load(); err != nil {
			return nil, err
		}
	}
}

func (w *walk) close() error {
	var errs []error
	if w.program != nil {
		errs = append(errs, w.program.Close())
	}
	if w.memory != nil {
		errs = append(errs, unix.Munmap(w.memory))
	}
	if w.array != nil {
		errs = append(errs, w.array.Close())
	}
	w.program, w.memory, w.array = nil, nil, nil
	return errors.Join(errs...)
}

// walkHeader is the size of what stands before the records: u64, the number of tasks met.
const walkHeader = 8

// walkProgram writes a record of each task to the memory of the map, and returns how many there are; room+1 where there
// are more than room.
func walkProgram(l layout, calls kernelFunctions, array, room int) asm.Instructions {
	const (
		iterator   = -24 // on the stack: struct bpf_iter_task, 24 bytes
		allThreads = 1   // BPF_TASK_ITER_ALL_THREADS
	)
	toIterator := asm.Instructions{asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, iterator)}
	var p asm.Instructions
	add := func(instructions ...asm.Instruction) { p = append(p, instructions...) }
	add(asm.LoadMapValue(asm.R7, array, 0),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.R7, 0, asm.R1, asm.DWord),
		calls["bpf_rcu_read_lock"])
	add(toIterator...)
	add(asm.Mov.Imm(asm.R2, 0), asm.Mov.Imm(asm.R3, allThreads), calls["bpf_iter_task_new"])

	add(toIterator[0].WithSymbol("next"), toIterator[1],
		calls["bpf_iter_task_next"],
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Reg(asm.R6, asm.R0),
		asm.LoadMem(asm.R1, asm.R6, l.pid, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "next"), // the idle task
		// The number is kept in memory, where the verifier does not follow it: in a register it would be another
		// one in each round, and the verifier would go through all of them.
		asm.LoadMem(asm.R9, asm.R7, 0, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R9),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R7, 0, asm.R1, asm.DWord),
		asm.JGE.Imm(asm.R9, int32(room), "end"),
		asm.Mul.Imm(asm.R9, recordSize),
		asm.Add.Reg(asm.R9, asm.R7))
	add(fillRecord(l, kindListed, asm.R9, walkHeader)...)
	add(asm.Ja.Label("next"))

	add(toIterator[0].WithSymbol("end"), toIterator[1],
		calls["bpf_iter_task_destroy"],
		calls["bpf_rcu_read_unlock"],
		asm.LoadMem(asm.R0, asm.R7, 0, asm.DWord),
		asm.Return())
	return p
}
