package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/vfs"
)

// How long a VM's directory is waited for: one that was defined just now is shown within a tick or two.
const (
	patience = 5 * time.Second
	asking   = 100 * time.Millisecond // between two looks
	lastWord = time.Second            // for an answer that is under way then
)

// A Tree is where the VMs' directories are.
type Tree struct {
	Path string
	// NotServed is why nobody serves the tree, nil where somebody does: then the directories can be looked at.
	NotServed error

	patience time.Duration
}

// OpenTree looks whether the tree is served.
func OpenTree(o vfs.Options) Tree {
	t := Tree{Path: o.Path, patience: patience}
	switch err := vfs.Check(o); {
	case errors.Is(err, vfs.ErrServed):
	case err != nil && errors.Is(err, vfs.ErrHeld):
		t.NotServed = errors.New("its service does not run")
	default: // it could be mounted, or something keeps it from that
		t.NotServed = errors.New("it is not mounted")
	}
	return t
}

// errForeign is that a VM's directory has another VM's meter.
var errForeign = errors.New("shows the meter of another VM")

// await waits until the directory of a VM is there, and returns an error where it is not, or has another VM's meter.
func (t Tree) await(ctx context.Context, dir, uuid string) error {
	if t.NotServed != nil {
		return t.NotServed
	}
	ctx, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	outcome := make(chan error, 1)
	go func() { // a question to a tree whose service ends meanwhile is not answered
		poll := time.NewTicker(asking)
		defer poll.Stop()
		for {
			err := belongs(dir, uuid)
			if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errForeign) || ctx.Err() != nil {
				outcome <- err
				return
			}
			<-poll.C
		}
	}()
	select {
	case err := <-outcome:
		return err
	case <-ctx.Done():
	}
	select { // its last word
	case err := <-outcome:
		return err
	case <-time.After(lastWord):
		return fmt.Errorf("%s: no answer from its service", dir)
	}
}

// belongs reports whether a directory is that of a VM. One of a VM whose publish profile is off is empty.
func belongs(dir, uuid string) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, "scaph/uuid"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && strings.TrimSpace(string(text)) != uuid {
		return fmt.Errorf("%s %w, %s: is the name in use twice?", dir, errForeign, strings.TrimSpace(string(text)))
	}
	return err
}
