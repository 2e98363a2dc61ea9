package vfs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// EnergyRange is max_energy_range_uj of every zone in the tree, that of a common Intel package. Counters
// are shown modulo this value, from 0 to EnergyRange-1, so that what readers compute over a wrap,
// range - previous + current, is exact.
const EnergyRange energy.Microjoules = 262143328850

// A VM is what the tree shows of one virtual machine.
type VM struct {
	UUID string // canonical: 36 characters, lower case
	Name string // not escaped; the directory's name is made from it
	Off  bool   // its owner shall see nothing: the directory is there, and empty
	Values
}

// Values are the published readings of a VM.
type Values struct {
	Energy   [energy.Kinds]energy.Microjoules // cumulative, never wraps; wrapped where it is shown
	Power    energy.Watts                     // mean since the publish before
	Updated  time.Time                        // when these values were published
	Interval time.Duration                    // at least so long until the next ones
}

// An Update is the whole content of the tree at one moment.
type Update struct {
	At     time.Time      // of the publish
	Kinds  energy.KindSet // zones that the host has; a package is always shown, psys never
	Source string         // energy.SourcePowercap or energy.SourceEstimate
	VMs    []VM           // not kept: the caller may use the slice again
}

// A Tree holds what is served. Publish and any number of servers may use it at the same time.
type Tree struct {
	version string
	group   atomic.Uint32
	state   atomic.Pointer[state]
	reads   atomic.Uint64
	resumes atomic.Uint64
	panics  atomic.Uint64

	publishing sync.Mutex    // one Publish at a time; readers do not take it
	former     *state        // the one before the present one; guarded by publishing
	filled     chan struct{} // closed by the first Publish
}

// NewTree makes an empty tree. Version stands in each VM's scaph/version; group is the id of the group that
// may read energy_uj beside root.
func NewTree(version string, group uint32) *Tree {
	t := &Tree{version: version, filled: make(chan struct{})}
	t.SetGroup(group)
	t.state.Store(&state{shape: newShape(shownKinds(0)), names: new(index), since: time.Now()})
	return t
}

// SetGroup changes the group that may read energy_uj beside root. Nobody caches whom it belongs to: it holds at once.
func (t *Tree) SetGroup(group uint32) { t.group.Store(group) }

// Reads gives the number of reads of files answered so far.
func (t *Tree) Reads() uint64 { return t.reads.Load() }

// Resumes gives the number of mounts taken over from an earlier process so far.
func (t *Tree) Resumes() uint64 { return t.resumes.Load() }

// Panics gives the number of requests so far that met a mistake in the program, and were answered with EIO.
func (t *Tree) Panics() uint64 { return t.panics.Load() }

// An index names the VMs. It is immutable, and one serves many states.
type index struct {
	uuids  []string // all by place in the state's vms
	titles []string // names, not escaped
	off    []bool
	dirs   []string
	slots  []slot
	bySlot map[slot]int
	byDir  map[string]int
	order  []int // by slot, which is the order of a listing
}

// Publish shows an Update, all of it at once. A VM whose UUID is malformed or stands there twice is left out
// and named in the error; the others are published. The first Publish must show all VMs there are: until then a
// Server lets readers wait, and then those that hold the files of a VM that is not there are told that it is
// gone.
func (t *Tree) Publish(u Update) error {
	t.publishing.Lock()
	defer t.publishing.Unlock()
	err := t.publish(u)
	select {
	case <-t.filled:
	default:
		close(t.filled)
	}
	return err
}

func (t *Tree) publish(u Update) error {
	old := t.state.Load()
	same, vms, err := old.names.covers(u.VMs), u.VMs, error(nil)
	if !same {
		vms, err = valid(u.VMs)
	}
	next := t.fresh(len(vms))
	next.shape, next.names, next.source, next.since = old.shape, old.names, u.Source, old.since
	if shown := shownKinds(u.Kinds); old.shape.kinds != shown {
		next.shape = newShape(shown)
	}
	if same {
		for i := range vms {
			next.vms[i] = meter{now: vms[i].Values, before: old.vms[i].now}
		}
		t.show(next)
		return nil
	}
	next.since = u.At
	next.names = newIndex(vms, old.names)
	for i := range vms {
		next.vms[i] = meter{now: vms[i].Values, before: vms[i].Values, first: t.resumes.Load() > 0}
		if j, ok := old.names.bySlot[next.names.slots[i]]; ok {
			next.vms[i].before, next.vms[i].first = old.vms[j].now, false
		}
	}
	t.show(next)
	return err
}

// covers tells whether the index was made for just these VMs.
func (x *index) covers(vms []VM) bool {
	if len(vms) != len(x.uuids) {
		return false
	}
	for i := range vms {
		if vms[i].UUID != x.uuids[i] || vms[i].Name != x.titles[i] || vms[i].Off != x.off[i] {
			return false
		}
	}
	return true
}

// valid leaves out the VMs that cannot be shown.
func valid(vms []VM) ([]VM, error) {
	var errs []error
	seen := make(map[slot]string, len(vms))
	shown := make([]VM, 0, len(vms))
	for _, vm := range vms {
		s := slotOf(vm.UUID)
		switch other, taken := seen[s]; {
		case !isUUID(vm.UUID):
			errs = append(errs, fmt.Errorf("tree: VM %q is not shown: its UUID %q is not canonical", vm.Name, vm.UUID))
		case taken:
			errs = append(errs, fmt.Errorf("tree: VM %q with UUID %s is not shown: %s has its place", vm.Name, vm.UUID, other))
		default:
			seen[s] = vm.UUID
			shown = append(shown, vm)
		}
	}
	return shown, errors.Join(errs...)
}

// newIndex names the directories. Who gives VMs their names sees to it that no two have the same;
// where two have it all the same, the one that has the plain directory keeps it. Among those that
// come at once it is the one with the lowest slot, which does not depend on the order in which they
// came.
func newIndex(vms []VM, old *index) *index {
	n := len(vms)
	x := &index{
		uuids: make([]string, n), titles: make([]string, n), off: make([]bool, n),
		dirs: make([]string, n), slots: make([]slot, n), order: make([]int, n),
		bySlot: make(map[slot]int, n), byDir: make(map[string]int, n),
	}
	for i := range vms {
		x.uuids[i], x.titles[i], x.off[i] = vms[i].UUID, vms[i].Name, vms[i].Off
		x.slots[i], x.order[i] = slotOf(vms[i].UUID), i
		x.bySlot[x.slots[i]] = i
	}
	slices.SortFunc(x.order, func(a, b int) int { return cmp.Compare(x.slots[a], x.slots[b]) })
	for _, holders := range []bool{true, false} {
		for _, i := range x.order {
			dir := DirName(vms[i].Name, vms[i].UUID)
			if j, there := old.byDir[dir]; holders != (there && old.uuids[j] == vms[i].UUID) {
				continue
			}
			if _, taken := x.byDir[dir]; taken {
				dir = uniqueName(vms[i].Name, vms[i].UUID)
			}
			x.dirs[i] = dir
			x.byDir[dir] = i
		}
	}
	return x
}

// maxContent is more than any file holds: the longest is scaph/version, which is cut to it.
const maxContent = 64

// content appends a file's bytes. Only the digits are computed.
func (t *Tree) content(dst []byte, st *state, place int, f file, v *Values) []byte {
	n := &st.shape.inodes[f]
	if !n.value {
		return append(dst, n.fixed...)
	}
	switch f {
	case scaphUUID:
		dst = append(dst, st.names.uuids[place]...)
	case scaphVersion:
		dst = append(dst, t.version[:min(len(t.version), maxContent-1)]...)
	case scaphUpdated:
		dst = strconv.AppendInt(dst, v.Updated.UnixNano(), 10)
	case scaphInterval:
		dst = strconv.AppendInt(dst, v.Interval.Nanoseconds(), 10)
	case scaphPower:
		dst = strconv.AppendFloat(dst, float64(v.Power), 'f', 2, 64)
	case scaphSource:
		dst = append(dst, st.source...)
	default:
		kind, _, _ := zonePart(f)
		dst = strconv.AppendUint(dst, uint64(v.Energy[kind]%EnergyRange), 10)
	}
	return append(dst, '\n')
}

// readAt appends what a read of a file at an offset gives.
func (t *Tree) readAt(dst []byte, st *state, place int, f file, offset uint64) []byte {
	start := len(dst)
	vm := &st.vms[place]
	if offset > 0 && st.shape.inodes[f].value {
		var room [maxContent]byte
		if offset == uint64(len(t.content(room[:0], st, place, f, &vm.before))) {
			return dst // a reader of the value before, come to its end
		}
	}
	dst = t.content(dst, st, place, f, &vm.now)
	if offset >= uint64(len(dst)-start) {
		return dst[:start]
	}
	if offset > 0 && vm.first && offset == uint64(len(dst)-start-1) {
		// A reader who wants the newline alone may have read all of a value that an earlier process showed, which was
		// shorter by a digit: for him this is the end. Whoever reads byte by byte misses a newline, and no digit.
		return dst[:start]
	}
	return append(dst[:start], dst[start+int(offset):]...)
}
