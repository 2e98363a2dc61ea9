package vmmap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// youngTicks is the age, in clock ticks of 1/100 s, up to which a process is looked at again: it may
	// yet execute another program, and libvirt puts helpers into their VM's cgroup after it started them. Past it,
	// whatever it is by then is examined once more.
	youngTicks = 30 * 100

	// maxCmdline bounds what is read of /proc/PID/cmdline. A qemu with hundreds of devices has some
	// 100 KiB; the kernel's own limit is a quarter of the stack's, 2 MiB by default.
	maxCmdline = 1 << 20

	kernelThread = 0x00200000 // PF_KTHREAD in the flags of proc_pid_stat(5)
)

// An observed process is what was learnt of one process when it was last examined. There may be tens of thousands, so it
// is kept small.
type observed struct {
	Process
	parent  int32
	seen    uint32 // number of the last look that met it
	comm    comm
	kernel  bool
	settled bool      // it was no longer young when examined
	faulty  bool      // something of it could not be read
	helper  bool      // its program is one that libvirt starts for a VM
	qemu    bool      // its executable is a qemu or, only where that cannot be read, it is named like one
	proof   bool      // qemu is known from the executable
	uid     uint32    // effective user id; only of a qemu
	scope   string    // the part of its cgroup path that names a machine, "" if none does
	argv    *identity // of a qemu, nil for others
}

// A comm is the kernel's name of a process, padded with NULs. Those of kernel threads may be longer, and are cut.
type comm [maxComm]byte

// maxComm is TASK_COMM_LEN of include/linux/sched.h, without the NUL at the end.
const maxComm = 15

func commOf(name []byte) (c comm) {
	copy(c[:], name)
	return c
}

func (c *comm) String() string { return string(bytes.TrimRight(c[:], "\x00")) }

// processes keeps what is known of all processes, so that a look costs little more than their change.
type processes struct {
	root  string // /proc
	known map[int32]*observed
	looks uint32
	files fileReader
	stuck *boundedReader

	faults uint64 // things that could not be read or understood, cumulative
	hidden int    // processes named like a qemu whose executable we may not see
}

func newProcesses(root string) *processes {
	return &processes{root: root, known: map[int32]*observed{}, stuck: newBoundedReader(maxCmdline)}
}

// scan brings the table up to date: new and young processes and all qemus are examined, every process if
// full is set (a process id that was used again between two looks shows only then). It says whether a
// qemu came or went.
func (t *processes) scan(ctx context.Context, full bool) (changed bool, err error) {
	root, err := os.Open(t.root)
	if err != nil {
		return false, cannotList(err)
	}
	defer func() { _ = root.Close() }() // opened for reading: nothing to lose
	now, err := t.uptime()
	if err != nil {
		t.faults++ // then every process counts as young, which costs time only
	}
	t.looks++
	t.hidden = 0
	for {
		names, err := root.Readdirnames(namesAtOnce)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, cannotList(err)
		}
		for _, name := range names {
			pid, err := strconv.ParseInt(name, 10, 32)
			if err != nil || pid <= 0 {
				continue
			}
			if err := ctx.Err(); err != nil {
				return false, err
			}
			before := t.known[int32(pid)]
			after := before
			if full || before == nil || !before.settled || before.qemu {
				after = t.look(ctx, int32(pid), before, now)
			}
			changed = changed || differentQemu(before, after)
			if after == nil {
				continue // if it was known, it is gone
			}
			after.seen = t.looks
			t.known[int32(pid)] = after
			if after.qemu && !after.proof {
				t.hidden++
			}
		}
	}
	for pid, p := range t.known {
		if p.seen != t.looks {
			changed = changed || p.qemu
			delete(t.known, pid)
		}
	}
	return changed, nil
}

// namesAtOnce is how many entries of /proc are listed in one go.
const namesAtOnce = 512

func cannotList(err error) error {
	return fmt.Errorf("processes cannot be listed: %w; is procfs mounted there?", err)
}

func differentQemu(before, after *observed) bool {
	was, is := before != nil && before.qemu, after != nil && after.qemu
	return was != is || was && before.Process != after.Process
}

// look reads one process; nil if it is gone. One that cannot be read or understood now is what it was before: a machine
// does not end because a read failed.
func (t *processes) look(ctx context.Context, pid int32, before *observed, now uint64) *observed {
	dir := filepath.Join(t.root, strconv.Itoa(int(pid)))
	text, err := t.files.read(dir + "/stat")
	if err != nil {
		t.fault(err)
		if gone(err) {
			return nil
		}
		return before
	}
	p, err := parseStat(text)
	if err != nil || p.PID != pid {
		t.faults++
		return before
	}
	p.settled = now > p.Start+youngTicks
	// The name changes when another program is executed. One that still may be put into a VM's cgroup is examined again.
	same := before != nil && before.Process == p.Process && before.comm == p.comm
	if same && (before.settled || !p.settled && !before.helper && !before.qemu && !before.faulty) {
		if before.parent != p.parent {
			adopted := *before
			adopted.parent = p.parent
			return &adopted
		}
		return before
	}
	if !p.kernel {
		t.examine(ctx, dir, &p)
	}
	return &p
}

// examine fills in what stat does not tell.
func (t *processes) examine(ctx context.Context, dir string, p *observed) {
	link, err := os.Readlink(filepath.Join(dir, "exe"))
	switch {
	case err == nil:
		p.helper = isHelper(path.Base(strings.TrimSuffix(link, " (deleted)")))
		p.qemu = isQemu(link)
		p.proof = p.qemu
	case errors.Is(err, fs.ErrPermission):
		p.helper = namedLikeHelper(p.comm.String())
		p.qemu = namedLikeQemu(p.comm.String())
	default:
		p.helper = namedLikeHelper(p.comm.String())
		p.faulty = true
		t.fault(err)
	}
	if text, err := t.files.read(dir + "/cgroup"); err == nil {
		p.scope = machineScope(text)
	} else {
		p.faulty = true
		t.fault(err)
	}
	if !p.qemu {
		return
	}
	p.argv = new(identity)
	// The owner of /proc/PID will not do: it is root for any process that made itself undumpable.
	if text, err := t.files.read(dir + "/status"); err != nil {
		t.fault(err)
		p.uid = noUID
	} else if p.uid, err = parseUID(text); err != nil {
		t.faults++
	}
	cmdline, err := t.stuck.read(ctx, filepath.Join(dir, "cmdline"))
	if err != nil {
		t.fault(err)
		p.settled = false // try again at the next look
		return
	}
	*p.argv = parseCmdline(cmdline)
	if *p.argv == (identity{}) && len(cmdline) == 0 {
		p.settled = false // between fork and exec, or it is exiting
	}
}

// fault counts an error, unless it only says that the process has ended.
func (t *processes) fault(err error) {
	if !gone(err) {
		t.faults++
	}
}

// uptime gives clock ticks since boot.
func (t *processes) uptime() (uint64, error) {
	text, err := t.files.read(filepath.Join(t.root, "uptime"))
	if err != nil {
		return 0, err
	}
	seconds, _, _ := bytes.Cut(text, []byte(" "))
	f, err := strconv.ParseFloat(string(seconds), 64)
	if err != nil || !(f >= 0 && f < 1e12) {
		return 0, fmt.Errorf("uptime %q is no number of seconds", seconds)
	}
	return uint64(f * 100), nil
}

// namedLikeQemu judges by the kernel's name of a process, cut to 15 bytes. Anybody can set it, so it
// serves only to confirm what libvirt says.
func namedLikeQemu(comm string) bool { return isQemu(comm) }

// readNames lists a directory without looking at its entries.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }() // opened for reading: nothing to lose
	return d.Readdirnames(-1)
}
