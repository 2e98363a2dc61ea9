package vfs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// filesystem answers the kernel's questions from the Tree's state. What it does not define is answered by the
// embedded default, ENOSYS, after which the kernel does not ask again.
type filesystem struct {
	fuse.RawFileSystem
	tree *Tree
}

func newFilesystem(t *Tree) *filesystem {
	return &filesystem{RawFileSystem: fuse.NewDefaultRawFileSystem(), tree: t}
}

func (fs *filesystem) String() string { return "scaph" }

// Lookup finds a name in a directory. Timeouts stay 0 and the generation too.
func (fs *filesystem) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	st := fs.tree.read()
	defer st.release()
	place, f := -1, vmDir
	if in.NodeId == rootNode {
		if i, ok := st.names.byDir[name]; ok {
			place = i
		}
	} else if i, dir := st.find(in.NodeId); i >= 0 && !st.names.off[i] {
		if child, ok := st.shape.child(dir, name); ok {
			place, f = i, child
		}
	}
	if place < 0 {
		return fuse.ENOENT
	}
	out.NodeId = st.names.slots[place].node(f)
	fs.attr(st, place, f, &out.Attr)
	return fuse.OK
}

// GetAttr tells size, mode and times.
func (fs *filesystem) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	st := fs.tree.read()
	defer st.release()
	if in.NodeId == rootNode {
		out.Attr = fuse.Attr{Ino: rootNode, Mode: modeDir, Nlink: uint32(2 + len(st.vms)), Blksize: blockSize}
		setTimes(&out.Attr, st.since)
		return fuse.OK
	}
	place, f := st.find(in.NodeId)
	if place < 0 {
		return gone(f)
	}
	fs.attr(st, place, f, &out.Attr)
	return fuse.OK
}

// gone is the answer for a node that is held but no longer there: what sysfs answers for a device that was removed.
func gone(f file) fuse.Status {
	if f.isDir() {
		return fuse.ENOENT
	}
	return fuse.ENODEV
}

const blockSize = 4096 // what readers take as their buffer's size; any file fits

func (fs *filesystem) attr(st *state, place int, f file, a *fuse.Attr) {
	n := &st.shape.inodes[f]
	*a = fuse.Attr{Ino: st.names.slots[place].node(f), Mode: n.mode, Nlink: 1, Blksize: blockSize}
	v := &st.vms[place].now
	setTimes(a, v.Updated)
	if f.isDir() {
		a.Nlink = 2
		for _, c := range n.children {
			if c.isDir() {
				a.Nlink++
			}
		}
		return
	}
	var room [maxContent]byte
	a.Size = uint64(len(fs.tree.content(room[:0], st, place, f, v)))
	if n.mode == modeSecret {
		a.Gid = fs.tree.group.Load()
	}
}

func setTimes(a *fuse.Attr, t time.Time) { a.SetTimes(&t, &t, &t) }

// Readlink gives a symlink's target.
func (fs *filesystem) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	st := fs.tree.read()
	defer st.release()
	place, f := st.find(in.NodeId)
	if place < 0 {
		return nil, fuse.ENOENT
	}
	if st.shape.inodes[f].mode != modeLink {
		return nil, fuse.EINVAL
	}
	return []byte(st.shape.inodes[f].fixed), fuse.OK
}

// Open checks that the file is there and that it is only to be read. There is nothing to remember of it: the
// handle is 0. Reads pass the page cache by, and closing needs no word with us.
func (fs *filesystem) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.Flags&(unix.O_ACCMODE|unix.O_TRUNC|unix.O_APPEND) != unix.O_RDONLY {
		return fuse.EROFS
	}
	st := fs.tree.read()
	defer st.release()
	if place, f := st.find(in.NodeId); place < 0 {
		return gone(f)
	}
	out.OpenFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH
	return fuse.OK
}

// Read gives the value as of now: see the package comment for what holds at offsets above 0.
func (fs *filesystem) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	fs.tree.reads.Add(1)
	st := fs.tree.read()
	defer st.release()
	place, f := st.find(in.NodeId)
	if place < 0 {
		return nil, gone(f)
	}
	var room [maxContent]byte
	n := copy(buf, fs.tree.readAt(room[:0], st, place, f, in.Offset))
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// OpenDir checks that the directory is there.
func (fs *filesystem) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	if in.NodeId == rootNode {
		return fuse.OK
	}
	st := fs.tree.read()
	defer st.release()
	if place, _ := st.find(in.NodeId); place < 0 {
		return fuse.ENOENT
	}
	return fuse.OK
}

// ReadDir lists a directory from an offset that an earlier entry carried. Offsets do not depend on who came or went
// in between: 1 and 2 are "." and "..", in the root then the VM's slot, elsewhere the file's number plus 3.
func (fs *filesystem) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	st := fs.tree.read()
	defer st.release()
	if in.NodeId == rootNode {
		st.listRoot(in.Offset, out)
		return fuse.OK
	}
	place, dir := st.find(in.NodeId)
	if place < 0 {
		return fuse.ENOENT
	}
	s, n := st.names.slots[place], &st.shape.inodes[dir]
	up := s.node(n.parent)
	if dir == vmDir {
		up = rootNode
	}
	if !listDots(in.Offset, out, in.NodeId, up) || st.names.off[place] {
		return fuse.OK
	}
	for _, c := range n.children {
		child := &st.shape.inodes[c]
		entry := fuse.DirEntry{Name: child.name, Mode: child.mode, Ino: s.node(c), Off: uint64(c) + 3}
		if entry.Off > in.Offset && !out.AddDirEntry(entry) {
			break
		}
	}
	return fuse.OK
}

func (st *state) listRoot(after uint64, out *fuse.DirEntryList) {
	if !listDots(after, out, rootNode, rootNode) {
		return
	}
	x := st.names
	for _, i := range x.order {
		s := x.slots[i]
		entry := fuse.DirEntry{Name: x.dirs[i], Mode: modeDir, Ino: s.node(vmDir), Off: uint64(s)}
		if entry.Off > after && !out.AddDirEntry(entry) {
			return
		}
	}
}

func listDots(after uint64, out *fuse.DirEntryList, self, up uint64) bool {
	return (after >= 1 || out.AddDirEntry(fuse.DirEntry{Name: ".", Mode: modeDir, Ino: self, Off: 1})) &&
		(after >= 2 || out.AddDirEntry(fuse.DirEntry{Name: "..", Mode: modeDir, Ino: up, Off: 2}))
}

// StatFs shows a file system without space, as sysfs does.
func (fs *filesystem) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	*out = fuse.StatfsOut{Bsize: blockSize, Frsize: blockSize, NameLen: maxName}
	return fuse.OK
}

// Flush is not wanted: after this answer the kernel asks no more at close(2).
func (fs *filesystem) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }
