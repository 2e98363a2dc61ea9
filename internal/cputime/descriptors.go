package cputime

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/proc"
)

// The descriptors of /proc/PID/stat that Procfs keeps open, one for each process as far as there are enough.

// read gives the present stat of the process that has q's id.
func (p *Procfs) read(q *process) (proc.Stat, error) {
	if q.fd >= 0 {
		now, err := p.dir.ReadStat(q.fd)
		if !errors.Is(err, unix.ESRCH) {
			return now, err
		}
		p.shut(q)
	}
	fd, err := p.openStat(q.pid)
	if err != nil {
		return proc.Stat{}, err
	}
	now, err := p.dir.ReadStat(fd)
	if err == nil && p.open < p.maxOpen {
		q.fd = fd
		p.open++
	} else {
		p.dir.CloseStat(fd)
	}
	return now, err
}

// openStat opens /proc/PID/stat. Where the rest of the program left no descriptor, a part of the kept
// ones is given back; this process is read at the next look.
func (p *Procfs) openStat(pid int32) (int, error) {
	fd, err := p.dir.OpenStat(pid)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		p.giveBack()
	}
	return fd, err
}

// giveBack closes an eighth of the kept descriptors, and at least one, and keeps no more than that from
// now on.
func (p *Procfs) giveBack() {
	p.maxOpen = p.open - (p.open+7)/8
	for _, q := range p.processes.All() {
		if p.open <= p.maxOpen {
			return
		}
		if q.fd >= 0 {
			p.shut(q)
		}
	}
}

func (p *Procfs) shut(q *process) {
	p.dir.CloseStat(q.fd)
	q.fd = -1
	p.open--
}

// gone tells whether a process that the listing left out has really ended.
func (p *Procfs) gone(q *process) bool {
	fd, err := p.openStat(q.pid)
	if err == nil {
		p.dir.CloseStat(fd)
	}
	return proc.IsGone(err)
}

func isRefused(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}
