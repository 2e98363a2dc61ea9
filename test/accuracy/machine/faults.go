package machine

import "syscall"

// Spoil makes a part of all reads fail from now on, rate from 0 to 1, in the ways in which reads of /proc and /sys do.
func (m *Machine) Spoil(rate float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faultRate = rate
}

// Faults tells how many reads were spoiled.
func (m *Machine) Faults() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.faults
}

// spoil gives what a reader gets instead of text.
func (m *Machine) spoil(text string) (string, syscall.Errno) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.faultRate == 0 || m.chance.Float64() >= m.faultRate {
		return text, 0
	}
	m.faults++
	switch m.chance.IntN(6) {
	case 0:
		return "", syscall.EIO
	case 1:
		return "", syscall.ENOENT
	case 2:
		return "", syscall.EACCES
	case 3:
		return "", 0
	case 4:
		return "\x00garbage -1 (\n", 0
	default:
		return text[:len(text)/2], 0 // cut off
	}
}
