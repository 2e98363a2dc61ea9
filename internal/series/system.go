package series

import "time"

// A System is what the compatibility table shows of the host beyond what is metered. It is immutable, and collected beside
// the ticks; see package system. What could not be read is not there, and has no series.
type System struct {
	Version   float64 // major.minor of this program
	Self      *ProcessUse
	Load      *[3]float64 // over 1, 5 and 15 minutes
	MHz       float64     // of the first CPU; 0 where unknown
	Memory    *Memory
	Kernel    *KernelCounters
	Disks     []Disk
	Processes map[int32]*ProcessUse // those with series of their own, and those of VMs, by process id
}

// Memory of the host, in bytes.
type Memory struct {
	Total, Available, Free, SwapTotal, SwapFree uint64
}

// KernelCounters are what /proc/stat says of processes.
type KernelCounters struct {
	Boot                   time.Time // when Forks and ContextSwitches were 0
	Forks, ContextSwitches uint64
	Running, Blocked       uint64 // at the time
}

// A Disk is a mounted file system on a disk, or one that the network brings.
type Disk struct {
	FileSystem, MountPoint, Device string
	Type                           string // SSD, HDD or Unknown
	Removable                      bool
	Total, Available               uint64 // bytes
}

// ProcessUse is what a process uses beside energy.
type ProcessUse struct {
	Start        uint64 // as in snapshot.Process; 0 for the process of a VM
	Exe, Cmdline string // the path, "" for a kernel thread; the arguments with spaces between them
	CPUPercent   float64
	Resident     uint64 // bytes
	Virtual      uint64 // bytes
	IO           *ProcessIO
}

// ProcessIO is what a process had read from disks and written to them, in bytes.
type ProcessIO struct {
	Read, Written           uint64 // since the collection before
	TotalRead, TotalWritten uint64 // since it started
}
