package bpf

import (
	"bytes"
	"encoding/binary"
	"iter"

	"github.com/scaph/scaph/internal/proc"
)

// Layout of a record, which the programs write about one task (a thread).
const (
	atAddress     = 0  // u64: of its task_struct, which is its identity as long as it exists
	atStart       = 8  // u64: ns since boot
	atLeaderStart = 16 // u64: the same of its process
	atRuntime     = 24 // u64: ns of CPU time
	atDeadRuntime = 32 // u64: ns of CPU time of the threads of its process that have ended
	atCgroup      = 40 // u64
	atPID         = 48 // u32: the thread's id
	atTGID        = 52 // u32: the process's id
	atParent      = 56 // u32
	atFlags       = 60 // u32: PF_*
	atCPU         = 64 // u32
	atKind        = 68 // u32: which program wrote it
	atComm        = 72 // 16 bytes, padded with NULs
	atParentBegan = 88 // u64: start of its process's parent, ns since boot
	recordSize    = 96

	commSize = 16
)

// Kinds of records.
const (
	kindListed = 0 // by the iterator
	kindExit   = 1 // the task begins to end
	kindFree   = 2 // the kernel has done with it
)

// A record is the memory of one; it is only read.
type record []byte

func (r record) u64(at int) uint64 { return binary.NativeEndian.Uint64(r[at:]) }
func (r record) u32(at int) uint32 { return binary.NativeEndian.Uint32(r[at:]) }

// eachRecord gives the whole records in b.
func eachRecord(b []byte) iter.Seq[record] {
	return func(yield func(record) bool) {
		for ; len(b) >= recordSize && yield(record(b[:recordSize])); b = b[recordSize:] {
			continue
		}
	}
}

// id gives the process as /proc names it: its start time in clock ticks.
func (r record) id() proc.ID {
	return proc.ID{PID: int32(r.u32(atTGID)), Start: r.u64(atLeaderStart) / proc.ClockTick}
}

// parent is that of the process, as /proc names it.
func (r record) parent() proc.ID {
	return proc.ID{PID: int32(r.u32(atParent)), Start: r.u64(atParentBegan) / proc.ClockTick}
}

func (r record) leads() bool { return r.u32(atPID) == r.u32(atTGID) }

// kernel reports whether it is a thread of the kernel.
func (r record) kernel() bool { return proc.KernelThread(uint64(r.u32(atFlags))) }

func (r record) comm() []byte {
	comm := r[atComm : atComm+commSize]
	if end := bytes.IndexByte(comm, 0); end >= 0 {
		comm = comm[:end]
	}
	return comm
}
