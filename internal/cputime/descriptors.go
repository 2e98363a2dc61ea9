package cputime

import (
	"errors"

	"golang.org/x/sys/unix"
)

// The descriptors of /proc/PID/stat that Procfs keeps open, one for each process as far as there are enough.

// read gives the present stat of the process that has q's id. A kept descriptor belongs to one
// process: when that has ended it answers ESRCH, and the id may be another's by now.
func (p *Procfs) read(q *process) (stat, error) {
	if q.fd >= 0 {
		now, err := p.readStat(q.fd)
		if !errors.Is(err, unix.ESRCH) {
			return now, err
		}
		p.shut(q)
	}
	fd, err := p.openStat(q.pid)
	if err != nil {
		return stat{}, err
	}
	now, err := p.readStat(fd)
	if err == nil && p.open < p.maxOpen {
		q.fd = fd
		p.open++
	} else {
		p.files.close(fd)
	}
	return now, err
}

func (p *Procfs) readStat(fd int) (stat, error) {
	n, err := p.files.read(fd, p.buf, 0)
	if err != nil {
		return stat{}, err
	}
	now, ok := parseStat(p.buf[:n])
	if !ok {
		return stat{}, errMalformed
	}
	return now, nil
}

// openStat opens /proc/PID/stat. Where the rest of the program left no descriptor, a part of the kept
// ones is given back; this process is read at the next look.
func (p *Procfs) openStat(pid int32) (int, error) {
	p.name = appendNumber(p.name[:0], pid)
	p.name = append(p.name, "/stat\x00"...)
	fd, err := p.files.open(p.dir, p.name)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		p.giveBack()
	}
	return fd, err
}

// giveBack closes an eighth of the kept descriptors, and at least one, and keeps no more than that from
// now on.
func (p *Procfs) giveBack() {
	p.maxOpen = p.open - (p.open+7)/8
	for _, q := range p.processes {
		if p.open <= p.maxOpen {
			return
		}
		if q.fd >= 0 {
			p.shut(q)
		}
	}
}

func (p *Procfs) shut(q *process) {
	p.files.close(q.fd)
	q.fd = -1
	p.open--
}

// gone tells whether a process that the listing left out has really ended.
func (p *Procfs) gone(q *process) bool {
	fd, err := p.openStat(q.pid)
	if err == nil {
		p.files.close(fd)
	}
	return isGone(err)
}

func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)
}

func isRefused(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}
