package machine

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of times in /proc: 1/100 s (proc_stat(5), USER_HZ).
const tick = 10 * time.Millisecond

// A node is a file with a text, a link with a target, or a directory with entries. What it gives is made when it is
// asked for, from the machine's state after its last step.
type node struct {
	name string
	text func() (string, syscall.Errno)
	link string
	list func() []node // nil for what is no directory

	again func() // called before a file that is open already is read from its start again; may be nil
}

func directory(name string, entries ...node) node {
	return node{name: name, list: func() []node { return entries }}
}

func constant(name, text string) node {
	return node{name: name, text: func() (string, syscall.Errno) { return text, 0 }}
}

// tree is the root of the file system: proc and sys.
func (m *Machine) tree() node {
	proc := node{name: "proc", list: func() []node {
		entries := []node{
			m.file("stat", m.statText), m.file("uptime", m.uptimeText),
			directory("sys", directory("kernel", directory("random", constant("boot_id", m.boot)))),
			{name: "self", link: "/proc/self"}, // whoever reads it looks for himself, not for the machine
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, p := range m.load.order {
			entries = append(entries, m.processNode(p))
		}
		return entries
	}}
	return directory("", proc, m.sysfs())
}

// file is one whose text is made under the lock.
func (m *Machine) file(name string, text func() string) node {
	return node{name: name, text: func() (string, syscall.Errno) {
		m.mu.Lock()
		defer m.mu.Unlock()
		return text(), 0
	}}
}

// ofProcess is a file of /proc/PID: who reads one that was opened before the process ended gets ESRCH.
func (m *Machine) ofProcess(name string, p *process, text func() string) node {
	return node{name: name, text: func() (string, syscall.Errno) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.load.processes[p.pid] != p {
			return "", syscall.ESRCH
		}
		return text(), 0
	}}
}

func (m *Machine) processNode(p *process) node {
	entries := []node{
		m.ofProcess("stat", p, func() string { return p.stat(p.pid, p.threads) }),
		m.ofProcess("cmdline", p, func() string { return p.cmdline() }),
		m.ofProcess("cgroup", p, func() string { return "0::/system.slice\n" }),
		m.ofProcess("status", p, func() string { return "Name:\t" + p.comm + "\nUid:\t0\t0\t0\t0\n" }),
		{name: "exe", link: p.exe},
		{name: "task", list: func() []node {
			var tasks []node
			for _, t := range p.threads {
				tasks = append(tasks, directory(strconv.Itoa(t.tid),
					m.ofProcess("stat", p, func() string { return p.stat(t.tid, []*thread{t}) })))
			}
			return tasks
		}},
	}
	return directory(strconv.Itoa(p.pid), entries...)
}

func (p *process) cmdline() string {
	if len(p.argv) == 0 {
		return p.exe + "\x00"
	}
	return strings.Join(p.argv, "\x00") + "\x00"
}

// stat is a line of proc_pid_stat(5), of a process or of one of its threads.
func (p *process) stat(id int, threads []*thread) string {
	var user, sys time.Duration
	for _, t := range threads {
		user += t.user
		sys += t.sys
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d (%s) S 1 %d %d 0 -1 4194560 0 0 0 0 %d %d 0 0 20 0 %d 0 %d", id, p.comm, p.pid, p.pid, user/tick, sys/tick, len(p.threads), p.start)
	fmt.Fprintf(&b, " 1000000 100 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 %d 0 0 0 0 0 0 0 0 0 0 0 0 0\n", threads[0].cpu)
	return b.String()
}

func (m *Machine) uptimeText() string { return fmt.Sprintf("%.2f 0.00\n", m.now.Seconds()) }

// statText is /proc/stat: each CPU's time, cut off to clock ticks.
func (m *Machine) statText() string {
	var b strings.Builder
	var busy, idle time.Duration
	for _, c := range m.cpus {
		busy += c.busy
		idle += m.now - c.busy
	}
	fmt.Fprintf(&b, "cpu  %d 0 0 %d 0 0 0 0 0 0\n", busy/tick, idle/tick)
	for i, c := range m.cpus {
		fmt.Fprintf(&b, "cpu%d %d 0 %d %d 0 0 0 0 0 0\n", i, c.busy*7/10/tick, (c.busy-c.busy*7/10)/tick, (m.now-c.busy)/tick)
	}
	b.WriteString("intr 0\nctxt 0\nbtime 1700000000\nprocesses 1000\n")
	return b.String()
}
