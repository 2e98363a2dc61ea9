package cli

import (
	"bufio"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// listens reports whether a process listens on the port of an address: one of its descriptors, proc_pid_fd(5), is a
// socket that /proc/PID/net/tcp{,6}, proc_pid_net(5), has as listening there.
func listens(procfs string, pid int, address string) bool {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return false
	}
	dir := filepath.Join(procfs, strconv.Itoa(pid))
	descriptors, err := filepath.Glob(filepath.Join(dir, "fd/*"))
	if err != nil {
		return false
	}
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		for _, inode := range listeners(filepath.Join(dir, table), uint16(port)) {
			if slices.ContainsFunc(descriptors, func(fd string) bool {
				target, err := os.Readlink(fd)
				return err == nil && target == "socket:["+inode+"]"
			}) {
				return true
			}
		}
	}
	return false
}

// listeners returns the inodes of the sockets that listen on a port.
func listeners(table string, port uint16) (inodes []string) {
	const (
		local, status, inode = 1, 3, 9 // fields
		listening            = "0A"
	)
	file, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer file.Close()
	suffix := ":" + strings.ToUpper(hex.EncodeToString([]byte{byte(port >> 8), byte(port)}))
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > inode && fields[status] == listening && strings.HasSuffix(fields[local], suffix) {
			inodes = append(inodes, fields[inode])
		}
	}
	return inodes
}
