package host

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scaph/scaph/internal/cli"
	"github.com/scaph/scaph/internal/config"
)

// What is missing for the tree is fatal where the tree was asked for, and else a note.
func TestCheckOfTheTree(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	apparmor := filepath.Join(dir, "sys/module/apparmor/parameters")
	if err := os.MkdirAll(apparmor, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(apparmor, "enabled"), []byte("Y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change  func(*config.Config)
		part    string
		verdict cli.Verdict
		what    string
	}{
		"on a file, must":       {func(c *config.Config) { c.Tree.Path, c.Tree.Enabled = file, config.On }, "tree", cli.Fail, file},
		"on a file, may":        {func(c *config.Config) { c.Tree.Path = file }, "tree", cli.Note, file},
		"no such group":         {func(c *config.Config) { c.Tree.Owner = "nosuchgroup" }, "tree", cli.Fail, "tree.owner"},
		"AppArmor, elsewhere":   {func(c *config.Config) { c.Tree.Path = file }, "AppArmor", cli.Note, "not below /var/lib/libvirt"},
		"AppArmor, usual place": {func(*config.Config) {}, "AppArmor", cli.OK, "active"},
	} {
		t.Run(name, func(t *testing.T) {
			c := config.Default()
			c.Libvirt.Enabled, c.Host.Sysfs = config.None, filepath.Join(dir, "sys")
			tt.change(&c)
			for _, f := range Check(context.Background(), c, false) {
				if f.Part == tt.part && f.Verdict == tt.verdict && strings.Contains(f.What, tt.what) {
					return
				}
			}
			t.Errorf("no %s of %s with %q in %+v", tt.verdict, tt.part, tt.what, Check(context.Background(), c, false))
		})
	}
}

// Without a tree, nothing is asked of the machine for it.
func TestCheckWithoutATree(t *testing.T) {
	c := config.Default()
	c.Libvirt.Enabled, c.Tree.Enabled, c.Tree.Path = config.None, config.None, "/proc/version"
	for _, f := range Check(context.Background(), c, false) {
		if f.Part != "VM files" {
			t.Errorf("%+v", f)
		}
	}
}
