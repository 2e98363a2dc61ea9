package main

import (
	"os"
	"os/exec"
	"time"
)

// A storm starts one short process after the other.
type storm struct {
	rate  float64       // a second
	used  time.Duration // CPU time of those that ended
	count int
	stop  chan struct{}
	done  chan error
}

func (s *storm) start() {
	if s.rate <= 0 {
		return
	}
	s.stop, s.done = make(chan struct{}), make(chan error, 1)
	stop, done := s.stop, s.done
	go func() { done <- s.run(stop) }()
}

// rest stops the storm and waits for its last process.
func (s *storm) rest() error {
	if s.stop == nil {
		return nil
	}
	close(s.stop)
	s.stop = nil
	return <-s.done
}

func (s *storm) run(stop <-chan struct{}) error {
	ticker := time.NewTicker(time.Duration(float64(time.Second) / s.rate))
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-ticker.C:
		}
		child := exec.Command("/proc/self/exe")
		child.Env = append(os.Environ(), "LOAD_BURN=1")
		if err := child.Run(); err != nil {
			return err
		}
		s.used += child.ProcessState.UserTime() + child.ProcessState.SystemTime()
		s.count++
	}
}
