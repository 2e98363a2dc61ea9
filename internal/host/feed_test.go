package host

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/snapshot"
	"github.com/scaph/scaph/internal/vfs"
)

// shown is a tree that keeps what was published last.
type shown struct {
	vfs.Update
	times int
	err   error
}

func (s *shown) Publish(u vfs.Update) error {
	u.VMs = slices.Clone(u.VMs)
	s.Update, s.times = u, s.times+1
	return s.err
}

func (s *shown) vm(t *testing.T, name string) vfs.VM {
	t.Helper()
	i := slices.IndexFunc(s.VMs, func(vm vfs.VM) bool { return vm.Name == name })
	if i < 0 {
		t.Fatalf("%s is not shown", name)
	}
	return s.VMs[i]
}

const uuid = "0a000000-0000-4000-8000-00000000000"

// tick makes a Snapshot of five VMs with so much energy in each counter.
func tick(second int, e energy.Microjoules) *snapshot.Snapshot {
	s := &snapshot.Snapshot{
		Seq: uint64(second), Time: time.Unix(1_700_000_000+int64(second), 0), Host: snapshot.Host{Source: "powercap"},
		Zones: []snapshot.Zone{{Zone: energy.Zone{Kind: energy.Package}}, {Zone: energy.Zone{Kind: energy.DRAM}}},
	}
	for i, name := range []string{"web", "shut", "gone", "secret", "renamed"} {
		vm := snapshot.VM{UUID: uuid + string(rune('1'+i)), Name: name, State: "running", Present: name != "gone"}
		if name == "shut" {
			vm.State = "shutoff"
		}
		for k := range vm.Energy {
			vm.Energy[k][snapshot.Active], vm.Energy[k][snapshot.Idle] = e, 1000
		}
		if name == "renamed" {
			vm.Before[energy.Package][snapshot.Active] = 7_000_000
		}
		s.VMs = append(s.VMs, vm)
	}
	return s
}

func hostConfig() config.Config {
	c := config.Default()
	c.Tree.Publish.VMs = map[string]config.VMPublish{"secret": {Profile: config.Off}}
	return c
}

// A VM's own meter is the sum of both parts, what it was charged under other names included; one that has gone has none,
// and one that is to see nothing is shown nothing.
func TestFeed(t *testing.T) {
	tree := &shown{}
	f := newFeed(vfs.NewPublisher(func() float64 { return 0 }), tree, hostConfig(), slog.New(slog.DiscardHandler))
	f.publish(tick(1, 1_000_000))
	f.publish(tick(2, 3_000_000))
	if tree.times != 2 || tree.At != tick(2, 0).Time || tree.Source != "powercap" || tree.Kinds != energy.KindsOf(energy.Package, energy.DRAM) {
		t.Errorf("%d times, %+v", tree.times, tree.Update)
	}
	if len(tree.VMs) != 4 || slices.ContainsFunc(tree.VMs, func(vm vfs.VM) bool { return vm.Name == "gone" }) {
		t.Errorf("shown: %+v", tree.VMs)
	}
	for name, want := range map[string]energy.Microjoules{"web": 3_001_000, "shut": 3_001_000, "renamed": 10_001_000} {
		if got := tree.vm(t, name).Energy[energy.Package]; got != want {
			t.Errorf("%s: %d µJ, want %d", name, got, want)
		}
	}
	if vm := tree.vm(t, "secret"); !vm.Off {
		t.Errorf("secret is shown: %+v", vm)
	}
}

// With the platform as the basis, that is what a guest has as its package.
func TestFeedOfThePlatform(t *testing.T) {
	tree, c := &shown{}, hostConfig()
	c.Sensor.Basis = "psys"
	f := newFeed(vfs.NewPublisher(func() float64 { return 0 }), tree, c, slog.New(slog.DiscardHandler))
	s := tick(1, 1_000_000)
	s.VMs[0].Energy[energy.Psys][snapshot.Active] = 9_000_000
	f.publish(s)
	if got := tree.vm(t, "web").Energy[energy.Package]; got != 9_001_000 {
		t.Errorf("%d µJ, want those of psys", got)
	}
}

// What cannot be kept over a restart is told once until it can again, and is shown all the same.
func TestFeedThatCannotRemember(t *testing.T) {
	var log bytes.Buffer
	publisher, tree := vfs.NewPublisher(func() float64 { return 0 }), &shown{err: errors.New("too many")}
	_ = publisher.Keep(t.TempDir() + "/missing/deeper") // there is nothing, and it cannot be written
	f := newFeed(publisher, tree, hostConfig(), slog.New(slog.NewTextHandler(&log, nil)))
	for second := range 3 {
		f.publish(tick(second, energy.Microjoules(second)*energy.Joule))
	}
	if n := strings.Count(log.String(), "before it is due"); n != 1 || tree.times != 3 {
		t.Errorf("told %d times, shown %d times:\n%s", n, tree.times, &log)
	}
	if n := strings.Count(log.String(), `error="too many"`); n != 3 {
		t.Errorf("what the tree refuses is told %d times:\n%s", n, &log)
	}
}
