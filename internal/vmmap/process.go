package vmmap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/scaph/scaph/internal/proc"
)

const (
	// youngTicks is the age, in clock ticks of 1/100 s, up to which a process is looked at again: it may
	// yet execute another program, and libvirt puts helpers into their VM's cgroup after it started them. Past it,
	// whatever it is by then is examined once more.
	youngTicks = 30 * 100

	// maxCmdline bounds what is read of /proc/PID/cmdline. A qemu with hundreds of devices has some
	// 100 KiB; the kernel's own limit is a quarter of the stack's, 2 MiB by default.
	maxCmdline = 1 << 20
)

// An observed process is what was learnt of one process when it was last examined. There may be tens of thousands, so it
// is kept small.
type observed struct {
	proc.ID
	parent  int32
	comm    comm
	kernel  bool
	settled bool         // it was no longer young when examined
	faulty  bool         // something of it could not be read
	named   bool         // its name is like a qemu's
	helper  bool         // its program is one that libvirt starts for a VM
	qemu    bool         // its executable is a qemu or, only where that cannot be read, it is named like one
	proof   bool         // qemu is known from the executable
	image   uint64       // changes when it executes a program, the same one too; 0 where we may not see that
	since   uint64       // when it executed that, as far as known; as Start
	found   uint32       // number of the look that met that first
	uid     uint32       // real user id; only of a qemu
	account proc.Account // that answers for it; only of a qemu
	scope   string       // the part of its cgroup path that names a machine, "" if none does
	argv    *identity    // of a qemu, nil for others
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
	root  string    // /proc
	dir   *proc.Dir // the same; open during a look
	known proc.Table[observed]
	pids  []int32 // the last listing
	looks uint32
	boot  time.Time // on the wall clock; zero where unknown
	stuck *proc.BoundedReader

	accounts accounts

	faults uint64 // things that could not be read or understood, cumulative
	moved  bool   // something came, went or changed since Mapper.publish looked
	hidden int    // processes named like a qemu whose executable we may not see
}

func newProcesses(root string) *processes {
	return &processes{root: root, dir: proc.NewDir(proc.Kernel{}, root), stuck: proc.NewBoundedReader(), accounts: accounts{path: "/etc/passwd"}}
}

// scan brings the table up to date: new and young processes, all qemus and what is named like one
// are examined, every process if full is set (a process id that was used again between two looks
// shows only then). It reports whether a qemu came or went.
func (t *processes) scan(ctx context.Context, full bool) (changed bool, err error) {
	now, err := t.begin()
	if err != nil {
		return false, err
	}
	defer t.dir.Close()
	if t.pids, err = t.dir.PIDs(t.pids); err != nil {
		return false, cannotList(err)
	}
	t.accounts.refresh()
	t.hidden = 0
	t.known.Update(t.pids, func(pid int32, before *observed, listed bool) *observed {
		after := before
		switch {
		case ctx.Err() != nil:
			return before
		case !listed:
			after = nil
		case full || before == nil || !before.settled || before.qemu || before.named:
			after = t.look(ctx, pid, before, now, true)
		}
		return t.take(before, after, &changed)
	})
	return changed, ctx.Err()
}

// begin starts a look, for which it opens t.dir, and returns its time, in clock ticks since boot.
func (t *processes) begin() (now uint64, err error) {
	if err := t.dir.Open(); err != nil {
		return 0, cannotList(err)
	}
	t.looks++
	if now, err = t.uptime(); err == nil {
		t.boot = time.Now().Add(-duration(now))
	} else {
		t.faults++ // then every process counts as young, which costs time only
	}
	return now, nil
}

// duration is the time of so many clock ticks.
func duration(ticks uint64) time.Duration { return time.Duration(ticks) * proc.ClockTick }

// revisit brings the table up to date about those of which something may yet change that nobody would
// notice: what could not be read, what libvirt may yet put into a VM's cgroup, whatever is no longer
// young, once, and all qemus if full is set. It reports whether a qemu came or went.
func (t *processes) revisit(ctx context.Context, full bool) (changed bool, err error) {
	now, err := t.begin()
	if err != nil {
		return false, err
	}
	defer t.dir.Close()
	t.accounts.refresh()
	t.hidden = 0
	t.known.Update(nil, func(pid int32, before *observed, _ bool) *observed {
		after := before
		if ctx.Err() == nil && (full && (before.qemu || before.named) ||
			!before.settled && (before.faulty || before.helper || now > before.since+youngTicks)) {
			after = t.look(ctx, pid, before, now, true)
		}
		return t.take(before, after, &changed)
	})
	return changed, ctx.Err()
}

// take takes note of what a look found of a process, and returns it.
func (t *processes) take(before, after *observed, changed *bool) *observed {
	t.moved = t.moved || before != after
	*changed = *changed || differentQemu(before, after)
	if after != nil && after.qemu && !after.proof {
		t.hidden++
	}
	return after
}

// glance brings the table up to date about some processes. It reports whether a qemu among them came
// or went, and whether it is a system account's.
func (t *processes) glance(ctx context.Context, ids []proc.ID) (changed, system bool) {
	now, err := t.begin()
	if err != nil {
		t.faults++
		return false, false
	}
	defer t.dir.Close()
	for _, id := range ids {
		before := t.known.Find(id.PID)
		after := t.look(ctx, id.PID, before, now, false)
		if before != after {
			t.moved = true
			t.known.Put(id.PID, after)
		}
		if differentQemu(before, after) {
			changed = true
			for _, p := range []*observed{before, after} {
				system = system || p != nil && p.qemu && p.account.System
			}
		}
	}
	return changed, system
}

func cannotList(err error) error {
	return fmt.Errorf("processes cannot be listed: %w; is procfs mounted there?", err)
}

func differentQemu(before, after *observed) bool {
	was, is := before != nil && before.qemu, after != nil && after.qemu
	return was != is || was && (before.ID != after.ID || before.image != after.image)
}

// look reads one process; nil if it is gone. One that is as it was is examined again only where it
// is young, and again is set. One that cannot be read or understood now is what it was before: a
// machine does not end because a read failed.
func (t *processes) look(ctx context.Context, pid int32, before *observed, now uint64, again bool) *observed {
	stat, err := t.dir.Stat(pid)
	if proc.IsGone(err) {
		return nil
	}
	if err != nil || stat.PID != pid {
		t.faults++
		return before
	}
	p := observed{ID: stat.ID, parent: stat.Parent, comm: commOf(stat.Comm), kernel: stat.Kernel, image: stat.Image()}
	p.since, p.found = p.Start, t.looks
	same := before != nil && before.ID == p.ID && before.image == p.image
	switch {
	case same:
		p.since, p.found = before.since, before.found
	case before != nil && before.ID == p.ID:
		p.since = now
	}
	p.settled = now > p.since+youngTicks
	// Where we may not see the image, a program that is executed shows by its name. A process that
	// still may be put into a VM's cgroup is examined again.
	if same && before.comm == p.comm &&
		(!again || before.settled || !p.settled && !before.helper && !before.qemu && !before.faulty) {
		if before.parent != p.parent {
			adopted := *before
			adopted.parent = p.parent
			return &adopted
		}
		return before
	}
	if !p.kernel {
		if !same {
			before = nil
		}
		t.examine(ctx, filepath.Join(t.root, strconv.Itoa(int(pid))), &p, before)
	}
	return &p
}

// examine fills in what stat does not tell. What cannot be read now is what it was before: a VM
// does not end because a read failed.
func (t *processes) examine(ctx context.Context, dir string, p, before *observed) {
	p.named = NamedLikeQemu(p.comm.String())
	link, err := os.Readlink(filepath.Join(dir, "exe"))
	switch {
	case err == nil:
		p.helper = isHelper(link)
		p.qemu = isQemu(link)
		p.proof = p.qemu
	case errors.Is(err, fs.ErrPermission):
		p.helper = namedLikeHelper(p.comm.String())
		p.qemu = p.named
	case before != nil && !proc.IsGone(err):
		p.helper, p.qemu, p.proof, p.faulty = before.helper, before.qemu, before.proof, true
		t.fault(err)
	default:
		p.helper = namedLikeHelper(p.comm.String())
		p.faulty = true
		t.fault(err)
	}
	container := ""
	if text, err := t.dir.ReadFile(p.PID, "cgroup"); err == nil {
		p.scope = machineScope(text)
		if p.qemu {
			container = containerOf(text)
		}
	} else {
		if before != nil {
			p.scope = before.scope
		}
		p.faulty = true
		t.fault(err)
	}
	if p.qemu {
		t.examineQemu(ctx, dir, container, p, before)
	}
}

// examineQemu finds out who runs a qemu, and what machine it says that it is.
func (t *processes) examineQemu(ctx context.Context, dir, container string, p, before *observed) {
	known := before != nil && before.qemu
	// The owner of /proc/PID will not do: it is root for any process that made itself undumpable.
	text, err := t.dir.ReadFile(p.PID, "status")
	var who proc.Status
	if err == nil {
		who, err = proc.ParseStatus(text)
	}
	switch {
	case err == nil && !p.faulty:
		p.uid, p.account = who.UID, t.accountOf(dir, container, who)
	case known:
		p.uid, p.account = before.uid, before.account
	default: // who answers for it is not guessed: until that is known it claims nothing
		t.fault(err)
		p.settled, p.argv = false, new(identity)
		return
	}
	t.fault(err)
	cmdline, err := t.stuck.Read(ctx, p.ID, "cmdline", p.account, func() ([]byte, error) {
		return proc.ReadLimited(filepath.Join(dir, "cmdline"), maxCmdline)
	})
	if err != nil {
		t.fault(err)
		p.settled, p.faulty = false, true // try again at the next look
		p.argv = new(identity)
		if known {
			p.argv = before.argv
		}
		return
	}
	argv := parseCmdline(cmdline, func(path string) ([]byte, error) {
		if !p.account.System {
			return nil, errUnsafe
		}
		system := maps.Clone(t.accounts.guests) // the read may outlive this look
		return t.stuck.Read(ctx, p.ID, path, p.account, func() ([]byte, error) {
			return readConfig(dir, path, (&accounts{guests: system}).system)
		})
	})
	p.argv = &argv
	if argv == (identity{}) && !bytes.HasSuffix(cmdline, []byte{0}) { // cut, or nothing: between fork and exec, or exiting
		p.settled, p.faulty = false, true
		if known {
			p.argv = before.argv
		}
	}
}

// fault counts an error, unless it only says that the process has ended.
func (t *processes) fault(err error) {
	if err != nil && !proc.IsGone(err) {
		t.faults++
	}
}

// uptime gives clock ticks since boot.
func (t *processes) uptime() (uint64, error) {
	text, err := t.dir.ReadFile(0, "uptime")
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

// readNames lists a directory without looking at its entries.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }() // opened for reading: nothing to lose
	return d.Readdirnames(-1)
}
