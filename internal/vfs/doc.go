// Package vfs is the tree that virtual machines read their own meter from: one directory per VM, each
// shaped like /sys/class/powercap (Documentation/power/powercap/powercap.rst), served by FUSE
// (Documentation/filesystems/fuse/fuse.rst) and shared into the guest by virtiofs or 9p.
//
// # How it holds together
//
// A [Publisher] decides what a tenant may see and when: it turns the ledger's cumulative counters into
// published ones, by interval and quantum. [Tree.Publish] swaps the whole published state at once, behind
// an atomic pointer. A [Server] answers the kernel from that state: its handlers hold no lock, do no I/O, know no
// open file and compute nothing but the decimal digits of a number.
//
// # The mount outlives the process
//
// Guests hold directories and files of the tree for months. Node ids are therefore a pure function of the
// VM's UUID and of the file (see layout.go), opens carry no state, and nothing is counted for the kernel's
// lookups: whatever process holds the /dev/fuse descriptor can answer. [Server.Handover] is what a
// successor needs: the descriptor, and the kernel's INIT request. A [Store] keeps both with the service
// manager; [Resume] replays INIT, asks the kernel to send the unanswered requests again (FUSE_NOTIFY_RESEND,
// Linux 6.9), and serves on.
//
// # What a read gives
//
// Attributes and names are never cached by the kernel (timeouts 0, FOPEN_DIRECT_IO). A read at offset 0 gives the
// value as published last, whole if the buffer has room (no file is longer than 64 bytes). A reader that
// fetches a value in pieces may get pieces of two values when a publish falls in between: there is no open
// file that could remember the first. The one case that ordinary readers meet is taken care of: a second
// read, for the end of file, at the length of a value that has just grown gives the end of file.
// st_size is exact when it is told; in the moment after a publish that adds a digit the file is one byte longer.
//
// # Who can slow down whom
//
// A request costs a few microseconds and at most one page, whatever a guest asks for. A guest has no more of them
// waiting than its virtiofsd or qemu has threads, and a Server answers one of each VM in turn (see queue.go), so that
// a guest that floods its share with requests makes the others wait for one of its own at a time, not for all. It
// takes from scaph at most the readers of a [Server], of which there is one less than processors: the tick has
// one to itself.
package vfs
