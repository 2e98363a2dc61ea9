package main

import (
	"context"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// A dir is a directory of the tree. Its children are made when it is added.
type dir struct {
	fs.Inode
	build func(ctx context.Context, d *dir)
}

var _ fs.NodeOnAdder = (*dir)(nil)

func (d *dir) OnAdd(ctx context.Context) {
	if d.build != nil {
		d.build(ctx, d)
	}
}

func (d *dir) add(ctx context.Context, name string, child fs.InodeEmbedder, mode uint32) {
	d.AddChild(name, d.NewPersistentInode(ctx, child, fs.StableAttr{Mode: mode}), false)
}

// A file is a pseudo-file as sysfs has them: 4096 bytes long to stat, its text made at a read
// at offset 0.
type file struct {
	fs.Inode
	mode uint32
	text func() string
}

var (
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.NodeGetattrer = (*file)(nil)
)

func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = f.mode, 4096
	return fs.OK
}

func (f *file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return &handle{file: f}, fuse.FOPEN_DIRECT_IO, fs.OK
}

// A handle is an open file.
type handle struct{ file *file }

var _ fs.FileReader = (*handle)(nil)

// Read gives the whole text at offset 0 and the end of file beyond it: every value fits one read.
func (h *handle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if off > 0 {
		return fuse.ReadResultData(nil), fs.OK
	}
	text := h.file.text()
	return fuse.ReadResultData(dest[:copy(dest, text)]), fs.OK
}

// mountTree serves the plant's tree on path, which must be an empty directory.
func mountTree(path string, p *plant) (*fuse.Server, error) {
	root := &dir{build: func(ctx context.Context, root *dir) {
		root.add(ctx, "intel-rapl", &dir{build: controlType(p)}, fuse.S_IFDIR)
		for _, c := range p.counters {
			link := &fs.MemSymlink{Data: []byte("intel-rapl/" + nested(c.id))}
			root.add(ctx, c.id, link, fuse.S_IFLNK)
		}
	}}
	return fs.Mount(path, root, &fs.Options{
		MountOptions:      fuse.MountOptions{FsName: "plant", Name: "plant", AllowOther: true, DirectMountStrict: true},
		RootStableAttr:    &fs.StableAttr{Ino: 1},
		FirstAutomaticIno: 2,
	})
}

// nested is the path of a zone below its control type: intel-rapl:0/intel-rapl:0:1.
func nested(id string) string {
	if parent := parentOf(id); parent != "" {
		return parent + "/" + id
	}
	return id
}

// parentOf gives the zone that contains id, "" for a package.
func parentOf(id string) string {
	if strings.Count(id, ":") < 2 {
		return ""
	}
	return id[:strings.LastIndexByte(id, ':')]
}

func controlType(p *plant) func(context.Context, *dir) {
	return func(ctx context.Context, d *dir) {
		d.add(ctx, "enabled", constant("1"), fuse.S_IFREG)
		for _, c := range p.counters {
			if parentOf(c.id) == "" {
				d.add(ctx, c.id, &dir{build: zone(p, c)}, fuse.S_IFDIR)
			}
		}
	}
}

func zone(p *plant, c *counter) func(context.Context, *dir) {
	return func(ctx context.Context, d *dir) {
		d.add(ctx, "name", constant(c.name), fuse.S_IFREG)
		d.add(ctx, "enabled", constant("1"), fuse.S_IFREG)
		d.add(ctx, "max_energy_range_uj", constant(strconv.FormatUint(c.maxRange(), 10)), fuse.S_IFREG)
		energy := &file{mode: 0o400, text: func() string { return strconv.FormatUint(p.read(c), 10) + "\n" }}
		d.add(ctx, "energy_uj", energy, fuse.S_IFREG)
		for _, child := range p.counters {
			if parentOf(child.id) == c.id {
				d.add(ctx, child.id, &dir{build: zone(p, child)}, fuse.S_IFDIR)
			}
		}
	}
}

func constant(value string) *file {
	return &file{mode: 0o444, text: func() string { return value + "\n" }}
}
