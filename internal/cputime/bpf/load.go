package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// probes are the programs in the kernel and the ends of them that this side holds.
type probes struct {
	collection *ebpf.Collection
	tasks      *link.Iter
	walk       *walk // the cheaper way, nil where there is none
	noWalk     error // why, nil where there is one
	tracing    []link.Link
	ends       *ringbuf.Reader
	lost       *ebpf.Memory
	word       [8]byte // memory for reading it
}

// load brings the programs into the kernel and attaches them.
func load(ringSize uint32) (*probes, error) {
	if err := initialNamespaces(); err != nil {
		return nil, err
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, explain("read the kernel's types (BTF)", err)
	}
	l, err := readLayout(kernel)
	if err != nil {
		return nil, err
	}
	// Before Linux 5.11 maps and programs count as locked memory. Later this does nothing, but it takes
	// CAP_BPF to find out.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, explain("lift the limit of locked memory (before Linux 5.11 this takes CAP_SYS_RESOURCE)", err)
	}
	p := new(probes)
	if p.collection, err = ebpf.NewCollection(collection(l, ringSize)); err != nil {
		return nil, explain("load the BPF programs", err)
	}
	if err := p.attach(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.walk, p.noWalk = newWalk(kernel, l, firstRoom, mostRoom)
	return p, nil
}

func (p *probes) attach() error {
	var err error
	if p.lost, err = p.collection.Maps[mapLost].Memory(); err != nil {
		return explain("map the count of lost records", err)
	}
	if p.ends, err = ringbuf.NewReader(p.collection.Maps[mapEnds]); err != nil {
		return explain("open the BPF ring buffer", err)
	}
	for _, name := range []string{programExit, programFree} {
		attached, err := link.AttachTracing(link.TracingOptions{Program: p.collection.Programs[name]})
		if err != nil {
			return explain("attach "+name+" to its tracepoint", err)
		}
		p.tracing = append(p.tracing, attached)
	}
	p.tasks, err = link.AttachIter(link.IterOptions{Program: p.collection.Programs[programTasks]})
	if err != nil {
		return explain("attach the task iterator", err)
	}
	return nil
}

// lostRecords tells how many records found no room in the ring buffer since the programs were loaded.
func (p *probes) lostRecords() (uint64, error) {
	if _, err := p.lost.ReadAt(p.word[:], 0); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint64(p.word[:]), nil
}

func (p *probes) close() error {
	var errs []error
	if p.walk != nil {
		errs = append(errs, p.walk.close())
	}
	if p.tasks != nil {
		errs = append(errs, p.tasks.Close())
	}
	for _, attached := range p.tracing {
		errs = append(errs, attached.Close())
	}
	if p.ends != nil {
		errs = append(errs, p.ends.Close())
	}
	p.collection.Close()
	return errors.Join(errs...)
}

// initialNamespaces makes sure that process ids and times since boot mean the same to the kernel's
// data and to /proc. The initial namespaces have fixed inode numbers (include/linux/proc_ns.h).
func initialNamespaces() error {
	const (
		initialTime = 0xEFFFFFFA
		initialPID  = 0xEFFFFFFC
	)
	for _, namespace := range []struct {
		path    string
		initial uint64
	}{{"/proc/self/ns/pid", initialPID}, {"/proc/self/ns/time", initialTime}} {
		var st unix.Stat_t
		err := unix.Stat(namespace.path, &st)
		switch {
		case errors.Is(err, unix.ENOENT): // a kernel without namespaces of this kind
		case err != nil:
			return fmt.Errorf("stat %s: %w", namespace.path, err)
		case st.Ino != namespace.initial:
			return fmt.Errorf("%s is not the host's namespace, and BPF sees processes as the host does: "+
				"run in the host's (container: --pid=host, pod: hostPID: true)", namespace.path)
		}
	}
	return nil
}

// explain says what the kernel's refusal is likely to mean.
func explain(what string, err error) error {
	var hint string
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, btf.ErrNotFound):
		hint = "the kernel lacks it: it takes Linux 5.8 or later, built with CONFIG_DEBUG_INFO_BTF and CONFIG_BPF_EVENTS"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		hint = "grant CAP_BPF and CAP_PERFMON"
		if text, readErr := os.ReadFile("/sys/kernel/security/lockdown"); readErr == nil && strings.Contains(string(text), "[confidentiality]") {
			hint = "kernel lockdown is set to confidentiality, which forbids it; integrity would allow it"
		}
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		hint = "it takes Linux 5.8 or later, built with CONFIG_DEBUG_INFO_BTF and CONFIG_BPF_EVENTS"
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w (%s)", what, err, hint)
}
