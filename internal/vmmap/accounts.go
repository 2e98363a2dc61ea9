package vmmap

import (
	"bytes"
	"strconv"
)

const (
	firstOrdinaryUID = 1000 // UID_MIN of login.defs(5); the same with systemd, Debian, Red Hat and SUSE
	maxPasswd        = 16 << 20
)

// accounts knows which users are the system's own. Debian gives the user that libvirt runs guests as
// an id far above the others' (64055), so it is looked up by name.
type accounts struct {
	path   string // passwd(5)
	guests map[uint32]bool
}

// refresh reads the file again; where it cannot be read, what is known stays.
func (a *accounts) refresh() {
	text, err := readLimited(a.path, maxPasswd)
	if err != nil {
		return
	}
	a.guests = map[uint32]bool{}
	for line := range bytes.Lines(text) {
		fields := bytes.Split(line, []byte(":"))
		if len(fields) < 3 {
			continue
		}
		switch string(fields[0]) {
		case "libvirt-qemu", "qemu":
			if uid, err := strconv.ParseUint(string(fields[2]), 10, 32); err == nil {
				a.guests[uint32(uid)] = true
			}
		}
	}
}

// system says that ordinary users cannot start processes with this id.
func (a *accounts) system(uid uint32) bool { return uid < firstOrdinaryUID || a.guests[uid] }
