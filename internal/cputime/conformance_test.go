package cputime_test

import (
	"testing"
	"time"

	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/cputime/cputimetest"
)

func TestMain(m *testing.M) { cputimetest.Main(m) }

func TestConformance(t *testing.T) {
	const rounding = 25 * time.Millisecond // user and system time are both cut off to 10 ms, and the pipe takes some
	cputimetest.Run(t, rounding, func(t testing.TB) cputimetest.Source {
		p, err := cputime.NewProcfs("/proc", cputime.NewDomains("/sys", nil, nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
		return p
	})
}
