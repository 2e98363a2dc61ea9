//go:build lab

package lab

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/test/lab/writes"
)

// share is where a guest has its directory of the tree.
const share = "/var/scaphandre"

// testOwnShareOnly looks, as the guest's root, for anything in its share that is not its own.
func testOwnShareOnly(t *testing.T, vm, other guest) {
	listing := strings.Fields(string(vm.exec(t, "ls", "-A", share).Stdout))
	if want := []string{"intel-rapl", "intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1", "scaph"}; !slices.Equal(listing, want) {
		t.Errorf("the share holds %v, not %v", listing, want)
	}
	if got := vm.cat(t, share+"/scaph/uuid"); got != vm.uuid+"\n" {
		t.Errorf("the share is that of %q", got)
	}
	// The way up ends in the guest's own file system, and symbolic links in the share.
	ups := []string{share + "/..", share + "/intel-rapl/../..", share + "/intel-rapl:0/../../..", share + "/scaph/../.."}
	for _, up := range ups {
		for _, name := range []string{other.name, vm.name} {
			if e := vm.exec(t, "ls", "-d", up+"/"+name); e.Code == 0 {
				t.Errorf("%s is there", up+"/"+name)
			}
		}
	}
	if e := vm.exec(t, "ls", "-d", share+"/"+other.name); e.Code == 0 {
		t.Errorf("%s is in the share", other.name)
	}
	links := vm.exec(t, "find", share, "-type", "l", "-exec", "readlink", "-f", "{}", ";")
	for end := range strings.Lines(string(links.Stdout)) {
		if end = strings.TrimSuffix(end, "\n"); end != share && !strings.HasPrefix(end, share+"/") {
			t.Errorf("a link leads out of the share to %s", end)
		}
	}
	if len(links.Stdout) == 0 {
		t.Error("no symbolic links were found")
	}
	for _, secret := range []string{other.name, other.uuid} {
		if e := vm.exec(t, "grep", "-rF", secret, share); e.Code != 1 {
			t.Errorf("looking for %s in the share: exit %d\n%s%s", secret, e.Code, e.Stdout, e.Stderr)
		}
	}
}

// testReadOnly tries, as root, everything that would change the share: on the host, in the guest, and in
// the guest after its root has mounted the share writable, so that only the host refuses.
func testReadOnly(t *testing.T, vm guest) {
	const file, subdirectory = "intel-rapl/intel-rapl:0/energy_uj", "scaph"
	on, err := writes.Try(vm.source, file, subdirectory)
	if err != nil {
		t.Fatal(err)
	}
	judgeWrites(t, "on the host", on, writesWithoutRight())
	inside := func() map[string]string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var report map[string]string
		query := url.Values{"dir": {share}, "file": {file}, "subdirectory": {subdirectory}}
		if err := vm.ask(ctx, "write", query, &report); err != nil {
			t.Fatal(err)
		}
		return report
	}
	judgeWrites(t, "in the guest", inside(), writesWithoutRight(), writesNotCarried())
	remount := func(how string) {
		if e := vm.exec(t, "mount", "-o", "remount,"+how, share); e.Code != 0 {
			t.Fatalf("remount,%s: %s", how, e.Stderr)
		}
	}
	remount("rw")
	judgeWrites(t, "in the guest, mounted writable", inside(), writesWithoutRight(), writesNotCarried())
	remount("ro")
	testUnchanged(t, vm)
}

// Answers other than EROFS and EPERM that are as good, by attempt.
func writesWithoutRight() map[string]string {
	return map[string]string{ // the descriptor is not open for writing, which is looked at first
		"write held": "EBADF", "pwrite held": "EBADF", "fallocate held": "EBADF", "ftruncate held": "EINVAL", "mmap to write": "EACCES",
	}
}

// A guest's kernel knows that virtiofs and 9p carry no such request, or was told so: these never reach the host.
func writesNotCarried() map[string]string {
	return map[string]string{
		"ioctl of nobody": "ENOTTY", "ioctl of chattr": "ENOTTY", "create nameless": "ENOTSUP",
		"setxattr user": "ENOTSUP", "setxattr security": "ENOTSUP", "removexattr": "ENOTSUP",
	}
}

func judgeWrites(t *testing.T, where string, report map[string]string, besides ...map[string]string) {
	t.Helper()
	allowed := func(what, got string) bool {
		return got == "EROFS" || got == "EPERM" ||
			slices.ContainsFunc(besides, func(some map[string]string) bool { return some[what] == got })
	}
	for _, what := range slices.Sorted(maps.Keys(report)) {
		if got := report[what]; !allowed(what, got) {
			t.Errorf("%s: %s: %s", where, what, got)
		}
	}
	by := map[string][]string{}
	for what, got := range report {
		by[got] = append(by[got], what)
	}
	for _, got := range slices.Sorted(maps.Keys(by)) {
		slices.Sort(by[got])
		t.Logf("%s: %s: %s", where, got, strings.Join(by[got], ", "))
	}
}

func testUnchanged(t *testing.T, vm guest) {
	t.Helper()
	if e := vm.exec(t, "ls", share+"/attempt"); e.Code == 0 {
		t.Error("something was made in the share")
	}
	if e := vm.exec(t, "stat", "-c", "%a %u", share+"/intel-rapl:0/energy_uj"); string(e.Stdout) != "440 0\n" {
		t.Errorf("mode and owner of energy_uj: %s", e.Stdout)
	}
}
