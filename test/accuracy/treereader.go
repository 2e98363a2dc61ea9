package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/scaph/scaph/test/accuracy/judge"
)

// readEvery makes a reader at 1 kHz.
const readEvery = time.Millisecond

// A treeReader reads the guests' counters as guests would, all the time, one after the other, and looks whether one of
// them ever falls.
type treeReader struct {
	dir   string // of the tree
	stop  context.CancelFunc
	done  sync.WaitGroup
	tree  judge.Tree        // valid after close
	uuids map[string]string // by directory
}

func readTree(ctx context.Context, dir string) *treeReader {
	ctx, stop := context.WithCancel(ctx)
	t := &treeReader{dir: dir, stop: stop, uuids: make(map[string]string), tree: judge.Tree{Last: make(map[string]uint64)}}
	t.done.Go(func() { t.run(ctx) })
	return t
}

func (t *treeReader) run(ctx context.Context) {
	ticker := time.NewTicker(readEvery)
	defer ticker.Stop()
	var vms []string
	for next := 0; ; next++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if next >= len(vms) {
			next, vms = 0, t.vms()
		}
		if len(vms) > 0 {
			t.read(vms[next])
		}
	}
}

// vms lists the directories of the machines.
func (t *treeReader) vms() []string {
	dirs, _ := filepath.Glob(filepath.Join(t.dir, "*")) // an error would be one of the pattern
	return dirs
}

// readAll reads each counter once more; after close. What is not there any more is forgotten.
func (t *treeReader) readAll() {
	t.tree.Last = make(map[string]uint64)
	for _, vm := range t.vms() {
		t.read(vm)
		t.read(vm) // the first one may find out that the directory is another machine's now
	}
}

// read reads a counter, and after it whose it is: a directory's name can pass to another machine of the same name.
func (t *treeReader) read(vm string) {
	uj, err := readCounter(filepath.Join(vm, "intel-rapl:0", "energy_uj"))
	if err != nil {
		t.tree.Away++
		return
	}
	text, err := os.ReadFile(filepath.Join(vm, "scaph", "uuid"))
	if err != nil {
		t.tree.Away++
		return
	}
	uuid := strings.TrimSpace(string(text))
	if t.uuids[vm] == uuid {
		t.tree.Read(uuid, uj)
	}
	t.uuids[vm] = uuid
}

func readCounter(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	digits, ok := strings.CutSuffix(string(text), "\n")
	if !ok {
		return 0, errors.New("cut off")
	}
	return strconv.ParseUint(digits, 10, 64)
}

// close ends the reading. It may be called again.
func (t *treeReader) close() {
	t.stop()
	t.done.Wait()
}
