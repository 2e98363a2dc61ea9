package vfs

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/scaph/scaph/test/rights"
)

// BenchmarkRead opens, reads and closes energy_uj of one VM after another, as a reader on the host does, on the
// tree and, for comparison, on a minimal server of go-fuse's fs package with directories as deep.
func BenchmarkRead(b *testing.B) {
	rights.Require(b, rights.FUSE)
	for _, n := range []int{5, 500} {
		b.Run(fmt.Sprintf("tree/vms=%d", n), func(b *testing.B) {
			tree := NewTree("bench", 0)
			if err := tree.Publish(update(testTime, 987654321, testVMs(n)...)); err != nil {
				b.Fatal(err)
			}
			path, _ := serve(b, tree)
			benchmarkRead(b, path, n)
		})
		b.Run(fmt.Sprintf("go-fuse/vms=%d", n), func(b *testing.B) {
			path := b.TempDir()
			root := &plainRoot{vms: n}
			// No caching there either: the default of a second would show old values.
			var zero time.Duration
			server, err := fs.Mount(path, root, &fs.Options{EntryTimeout: &zero, AttrTimeout: &zero,
				MountOptions: fuse.MountOptions{AllowOther: true, DirectMountStrict: true, Options: []string{"default_permissions"}, DisableXAttrs: true}})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := server.Unmount(); err != nil {
					b.Error(err)
				}
			})
			benchmarkRead(b, path, n)
		})
	}
}

func benchmarkRead(b *testing.B, path string, vms int) {
	files := make([]string, vms)
	for i := range files {
		files[i] = filepath.Join(path, fmt.Sprintf("vm%d", i), "intel-rapl/intel-rapl:0/energy_uj")
	}
	var took []time.Duration
	buf := make([]byte, 64)
	i := 0
	for b.Loop() {
		began := time.Now()
		if _, err := readValue(files[i%vms], -1, buf); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
		i++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "reads/s")
}

// A plainRoot is the file system that one writes with go-fuse in an hour.
type plainRoot struct {
	fs.Inode
	vms int
}

func (r *plainRoot) OnAdd(ctx context.Context) {
	for i := range r.vms {
		dir := &r.Inode
		for _, name := range []string{fmt.Sprintf("vm%d", i), "intel-rapl", "intel-rapl:0"} {
			sub := dir.NewPersistentInode(ctx, &fs.Inode{}, fs.StableAttr{Mode: fuse.S_IFDIR})
			dir.AddChild(name, sub, false)
			dir = sub
		}
		dir.AddChild("energy_uj", dir.NewPersistentInode(ctx, &plainFile{value: 987654321}, fs.StableAttr{}), false)
	}
}

type plainFile struct {
	fs.Inode
	value uint64
}

func (f *plainFile) content() []byte {
	return append(strconv.AppendUint(nil, f.value, 10), '\n')
}

func (f *plainFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o444, uint64(len(f.content()))
	return fs.OK
}

func (f *plainFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, fs.OK
}

func (f *plainFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	content := f.content()
	if off >= int64(len(content)) {
		return fuse.ReadResultData(nil), fs.OK
	}
	return fuse.ReadResultData(content[off:]), fs.OK
}
