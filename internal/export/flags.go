package export

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
)

// Steps are the flags of a command that measures for a while.
type Steps struct{ timeout, step int }

// AddSteps adds the flags, with scaphandre's names; both are in seconds.
func AddSteps(flags *pflag.FlagSet, timeout, step int) *Steps {
	s := &Steps{}
	flags.IntVarP(&s.timeout, "timeout", "t", timeout, "seconds until the command ends; negative: never")
	flags.IntVarP(&s.step, "step", "s", step, "seconds between rounds")
	return s
}

// Pace returns the pace that was asked for; more is added to the step.
func (s *Steps) Pace(more time.Duration) (Pace, error) {
	const (
		most  = 1 << 31 // seconds; beyond that a step is no time.Duration
		least = 100 * time.Millisecond
	)
	step := time.Duration(s.step)*time.Second + more
	switch {
	case s.step < 0 || s.step > most || more < 0 || more > most*time.Second:
		return Pace{}, fmt.Errorf("--step %d: must be from 1 to %d seconds", s.step, most)
	case more == 0 && s.step == 0:
		return Pace{}, fmt.Errorf("--step %d: must be at least 1 second", s.step)
	case step < least:
		return Pace{}, fmt.Errorf("--step %d: must be at least %v in all", s.step, least)
	}
	p := Pace{Step: step, Rounds: -1}
	if s.timeout >= 0 {
		p.Rounds = int(max(1, time.Duration(min(s.timeout, most))*time.Second/step))
	}
	return p, nil
}

// AddQemu adds the flag that scaphandre's users have in their units: what it asked for is always done.
func AddQemu(flags *pflag.FlagSet) {
	flags.BoolP("qemu", "q", false, "accepted for compatibility: VMs are always told apart")
	_ = flags.MarkHidden("qemu") // fails only for a flag that is not there
}
