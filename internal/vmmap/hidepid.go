package vmmap

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// hiddenBy says why processes of other users cannot be seen, "" where they can: process 1 is there
// on every machine, so where it cannot be read, procfs is mounted so as to hide them, proc(5).
func (t *processes) hiddenBy() string {
	f, err := os.Open(filepath.Join(t.root, "1/stat"))
	if err == nil {
		_ = f.Close() // opened for reading: nothing to lose
		return ""
	}
	option := hidepid(t.root)
	if option == "" {
		return ""
	}
	return fmt.Sprintf("processes of other users are hidden (%s is mounted with %s): run as root or with CAP_SYS_PTRACE, or mount it with gid= of our group",
		t.root, option)
}

// hidepid returns the option of a mount of procfs that hides processes, "" if it has none.
func hidepid(root string) string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	option := ""
	for line := range bytes.Lines(text) { // the last mount at a place is the one that shows
		fields := strings.Fields(string(line))
		if len(fields) < 7 || fields[4] != filepath.Clean(root) {
			continue
		}
		option = ""
		for o := range strings.SplitSeq(fields[len(fields)-1], ",") {
			if strings.HasPrefix(o, "hidepid=") && o != "hidepid=0" && o != "hidepid=off" {
				option = o
			}
		}
	}
	return option
}
