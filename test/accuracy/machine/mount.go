package machine

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount shows the machine at dir, as dir/proc and dir/sys, until Unmount. It takes root and /dev/fuse.
func (m *Machine) Mount(dir string) (*fuse.Server, error) {
	return fs.Mount(dir, &inode{machine: m, node: m.tree()}, &fs.Options{MountOptions: fuse.MountOptions{
		FsName: "machine", Name: "machine", DirectMountStrict: true, DisableReadDirPlus: true, DisableXAttrs: true,
	}})
}

// An inode shows a node. Nothing is cached, as the timeouts are 0: processes come and go.
type inode struct {
	fs.Inode
	machine *Machine
	node    node
}

var (
	_ fs.NodeLookuper       = (*inode)(nil)
	_ fs.NodeOpendirHandler = (*inode)(nil)
	_ fs.NodeGetattrer      = (*inode)(nil)
	_ fs.NodeReadlinker     = (*inode)(nil)
	_ fs.NodeOpener         = (*inode)(nil)
)

func (n node) mode() uint32 {
	switch {
	case n.list != nil:
		return fuse.S_IFDIR | 0o555
	case n.text != nil:
		return fuse.S_IFREG | 0o444
	default:
		return fuse.S_IFLNK | 0o777
	}
}

func (i *inode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if i.node.list == nil {
		return nil, syscall.ENOTDIR
	}
	for _, entry := range i.node.list() {
		if entry.name == name {
			out.Mode = entry.mode()
			return i.NewInode(ctx, &inode{machine: i.machine, node: entry}, fs.StableAttr{Mode: entry.mode() & syscall.S_IFMT}), 0
		}
	}
	return nil, syscall.ENOENT
}

func (i *inode) OpendirHandle(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return &dirHandle{list: i.node.list}, 0, 0
}

func (i *inode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Nlink = i.node.mode(), 1
	return 0
}

func (i *inode) Readlink(context.Context) ([]byte, syscall.Errno) {
	if i.node.link == "" { // the executable of a kernel thread
		return nil, syscall.ENOENT
	}
	return []byte(i.node.link), 0
}

func (i *inode) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return &handle{inode: i}, fuse.FOPEN_DIRECT_IO, 0
}

// A handle is an open file. Its text is made at offset 0 and kept for reads further on.
type handle struct {
	inode *inode
	read  bool // it was read before
	text  string
}

var _ fs.FileReader = (*handle)(nil)

func (h *handle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if off == 0 {
		if h.read && h.inode.node.again != nil {
			h.inode.node.again()
		}
		h.read = true
		text, errno := h.inode.node.text()
		if errno == 0 {
			text, errno = h.inode.machine.spoil(text)
		}
		if errno != 0 {
			return nil, errno
		}
		h.text = text
	}
	if off >= int64(len(h.text)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, h.text[off:])]), 0
}

// A dirHandle is an open directory. It is listed anew when its reader goes back to the start.
type dirHandle struct {
	list    func() []node
	entries []node
	next    int
}

var (
	_ fs.FileReaddirenter = (*dirHandle)(nil)
	_ fs.FileSeekdirer    = (*dirHandle)(nil)
)

func (d *dirHandle) Seekdir(_ context.Context, off uint64) syscall.Errno {
	if off == 0 {
		d.entries = nil
	}
	d.next = int(off)
	return 0
}

func (d *dirHandle) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if d.entries == nil {
		d.entries = d.list()
	}
	if d.next >= len(d.entries) {
		return nil, 0
	}
	entry := d.entries[d.next]
	d.next++
	return &fuse.DirEntry{Name: entry.name, Mode: entry.mode(), Off: uint64(d.next)}, 0
}
