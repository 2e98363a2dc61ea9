package wait

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A verdict keeps whether a test was failed.
type verdict struct {
	testing.TB
	failed bool
}

func (*verdict) Helper()                 {}
func (v *verdict) Fatalf(string, ...any) { v.failed = true }

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		after := func(d time.Duration) func() bool { return func() bool { return time.Since(began) >= d } }
		for _, c := range []struct {
			takes, deadline time.Duration
			fails           bool
		}{
			{0, 0, false}, // it is asked at least once
			{time.Second, 2 * time.Second, false},
			{3 * time.Second, 2 * time.Second, true},
		} {
			began = time.Now()
			var v verdict
			Until(&v, "it", c.deadline, after(c.takes))
			if v.failed != c.fails {
				t.Errorf("%+v: failed %v", c, v.failed)
			}
			if waited := time.Since(began); waited > min(c.takes, c.deadline)+every {
				t.Errorf("%+v: waited %v", c, waited)
			}
		}
	})
}

func TestForEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if For(ctx, time.Hour, func() bool { return false }) {
		t.Error("what did not happen was found")
	}
}
