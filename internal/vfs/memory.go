package vfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// A memory holds what a Publisher remembers, for the next process: two files in a directory, written in
// turn, so that one of them is whole whenever a process dies. They belong into a file system in memory,
// as one is written at every publish; kept open and not cut, they cost one system call.
type memory struct {
	dir   string // "" for none
	turn  uint64 // of the last one that was written
	files [2]*os.File
	buf   []byte // reused
}

// A file begins with this, the turn and the length of what follows, and ends in a CRC-32 (IEEE) of all that.
// What stands behind is left over from longer ones.
const (
	memoryFormat = "scaph-tree 1\n"
	memoryHeader = len(memoryFormat) + 8 + 8
)

var errMemory = errors.New("tree: what was shown before is damaged, or of another version of scaph")

func (m *memory) path(turn uint64) string {
	return filepath.Join(m.dir, "tree."+strconv.FormatUint(turn%2, 10))
}

// Keep goes on from what an earlier process showed, which it left in a directory, and keeps what is
// shown from now on there. It is called before the first Publish, and later to move what is known to another
// directory. After an error nothing of an earlier process may be known, and the files will be replaced.
func (p *Publisher) Keep(dir string) error {
	if dir == p.memory.dir {
		return nil
	}
	err := p.memory.close()
	p.memory.dir = dir
	if p.round > 0 { // what stands there is of earlier times
		return errors.Join(err, p.memory.remove())
	}
	var errs []error
	var latest []byte
	for turn := range uint64(2) {
		b, err := os.ReadFile(p.memory.path(turn))
		if err == nil {
			b, err = checkMemory(b)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, fmt.Errorf("%w: %s", err, p.memory.path(turn)))
		case latest == nil || memoryTurn(b) > memoryTurn(latest):
			latest = b
		}
	}
	if latest == nil {
		return errors.Join(errs...)
	}
	p.memory.turn = memoryTurn(latest)
	for _, vm := range decodeMemory(latest[memoryHeader:]) {
		p.vms[vm.shown.UUID] = vm
	}
	return nil // the other file may be torn: that is what there are two for
}

// Remember writes what the last Publish returned, so that no later process shows less than that, or more
// before it is due. It is called before anybody can see it.
//
// After an error there are no files: to know nothing of what was shown is better than to know something
// that is not true any more.
func (p *Publisher) Remember() error {
	m := &p.memory
	if m.dir == "" {
		return nil
	}
	m.turn++
	m.buf = p.appendMemory(m.buf[:0])
	if err := m.write(); err != nil {
		return errors.Join(fmt.Errorf("tree: what is shown cannot be kept over a restart: %w", err), m.remove())
	}
	return nil
}

func (m *memory) write() error {
	f := &m.files[m.turn%2]
	if *f == nil {
		var err error
		if *f, err = os.OpenFile(m.path(m.turn), os.O_WRONLY|os.O_CREATE, 0o600); err != nil {
			return err
		}
	}
	_, err := (*f).WriteAt(m.buf, 0)
	return err
}

func (m *memory) remove() error {
	err := m.close()
	for turn := range uint64(2) {
		if gone := os.Remove(m.path(turn)); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return err
}

func (m *memory) close() error {
	var err error
	for i, f := range m.files {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		m.files[i] = nil
	}
	return err
}

func (p *Publisher) appendMemory(b []byte) []byte {
	b = append(b, memoryFormat...)
	b = binary.LittleEndian.AppendUint64(b, p.memory.turn)
	b = binary.LittleEndian.AppendUint64(b, 0)
	for uuid, vm := range p.vms {
		uuid = uuid[:min(len(uuid), math.MaxUint8)] // a longer one is none, and is not shown
		b = append(append(b, byte(len(uuid))), uuid...)
		for k := range energy.Kinds {
			b = binary.LittleEndian.AppendUint64(b, uint64(vm.shown.Energy[k]))
			b = binary.LittleEndian.AppendUint64(b, uint64(vm.ledger[k]))
			b = binary.LittleEndian.AppendUint64(b, uint64(vm.lost[k]))
		}
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(vm.shown.Power)))
		b = binary.LittleEndian.AppendUint64(b, uint64(vm.shown.Updated.UnixNano()))
		b = binary.LittleEndian.AppendUint64(b, uint64(vm.shown.Interval))
		b = binary.LittleEndian.AppendUint64(b, uint64(vm.next.UnixNano()))
	}
	binary.LittleEndian.PutUint64(b[memoryHeader-8:], uint64(len(b)-memoryHeader))
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// checkMemory returns header and content of a file that is whole.
func checkMemory(b []byte) ([]byte, error) {
	if len(b) < memoryHeader+crc32.Size || string(b[:len(memoryFormat)]) != memoryFormat {
		return nil, errMemory
	}
	size := binary.LittleEndian.Uint64(b[memoryHeader-8:])
	if size > uint64(len(b)-memoryHeader-crc32.Size) {
		return nil, errMemory
	}
	end := memoryHeader + int(size)
	if binary.LittleEndian.Uint32(b[end:]) != crc32.ChecksumIEEE(b[:end]) {
		return nil, errMemory
	}
	return b[:end], nil
}

func memoryTurn(b []byte) uint64 { return binary.LittleEndian.Uint64(b[len(memoryFormat):]) }

// decodeMemory undoes appendMemory, for a file that was checked. It ends early at what it cannot have written.
func decodeMemory(b []byte) (vms []*publication) {
	const words = 3*energy.Kinds + 4
	for len(b) > 0 {
		size := int(b[0])
		if len(b) < 1+size+8*words {
			return vms
		}
		vm := &publication{shown: VM{UUID: string(b[1 : 1+size])}}
		b = b[1+size:]
		word := func() (v uint64) {
			v, b = binary.LittleEndian.Uint64(b), b[8:]
			return v
		}
		for k := range energy.Kinds {
			vm.shown.Energy[k] = energy.Microjoules(word())
			vm.ledger[k] = energy.Microjoules(word())
			vm.lost[k] = energy.Microjoules(word())
		}
		vm.shown.Power = energy.Watts(math.Float64frombits(word()))
		vm.shown.Updated = time.Unix(0, int64(word()))
		vm.shown.Interval = time.Duration(word())
		vm.next = time.Unix(0, int64(word()))
		vms = append(vms, vm)
	}
	return vms
}
