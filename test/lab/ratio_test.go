//go:build lab

package lab

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/test/lab/reads"
	"github.com/scaph/scaph/test/wait"
)

// A moment is a VM's energy and CPU time as exported, and what the kernel's clocks of its processes
// showed when that was published.
type moment struct {
	energy   uint64        // µJ of package and dram
	exported time.Duration // scaph_vm_cpu_seconds_total
	qemu     time.Duration
	helpers  time.Duration // virtiofsd
}

// minus gives what was used since an earlier moment.
func (m moment) minus(earlier moment) moment {
	return moment{
		energy: m.energy - earlier.energy, exported: m.exported - earlier.exported,
		qemu: m.qemu - earlier.qemu, helpers: m.helpers - earlier.helpers,
	}
}

func (m moment) clocks() time.Duration { return m.qemu + m.helpers }

// mark waits for a fresh tick and reads the clocks of all guests at once.
func mark(t *testing.T, g *ground) []moment {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	helpers := make([][]int, len(g.guests))
	for i, vm := range g.guests {
		helpers[i] = virtiofsds(t, vm.source)
	}
	var first, fresh *scrape
	wait.Until(t, "a fresh tick", 10*time.Second, func() bool {
		s, err := fetch(ctx, g.meter.metricsURL())
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = s
		}
		fresh = s
		return s.Basis("scaph_zone_energy_joules_total") != first.Basis("scaph_zone_energy_joules_total")
	})
	moments := make([]moment, len(g.guests))
	for i, vm := range g.guests {
		m := &moments[i]
		m.qemu = cpuClock(t, vm.pid(t))
		for _, pid := range helpers[i] {
			m.helpers += cpuClock(t, pid)
		}
		m.energy = fresh.Basis("scaph_vm_energy_joules_total", "uuid", vm.uuid)
		m.exported = time.Duration(fresh.Sum("scaph_vm_cpu_seconds_total", "uuid", vm.uuid)) * time.Microsecond
	}
	return moments
}

// virtiofsds finds the processes that serve a directory to a guest: by their command line, which
// names it.
func virtiofsds(t *testing.T, directory string) []int {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		program, arguments, _ := bytes.Cut(line, []byte{0})
		if filepath.Base(string(program)) != "virtiofsd" || !strings.Contains(string(arguments), directory) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, pid)
	}
	return found
}

// testRatio compares the energies of the two guests with their CPU time by the kernel's clocks.
func testRatio(t *testing.T, g *ground) {
	const window = 40 * time.Second
	for i, percent := range []int{90, 30} {
		g.guests[i].load(t, percent)
	}
	begin := mark(t, g)
	pause(t, window)
	if times := judgeRatio(t, g, begin, mark(t, g)); times < 1.5 {
		t.Errorf("the loads are too much alike for a judgement: ratio %.2f", times)
	}
}

// testHelpers does the same while one guest reads its share all the time, which has virtiofsd
// work outside of qemu: that is the guest's doing, and charged to it.
func testHelpers(t *testing.T, g *ground) {
	for _, vm := range g.guests {
		vm.load(t, 20)
	}
	begin := mark(t, g)
	report := g.guests[0].carryOut(t, reads.Plan{Path: guestEnergy, Mode: reads.Open, Rate: 100, For: 15 * time.Second, Range: vmRange})
	end := mark(t, g)
	t.Log(report)
	judgeRatio(t, g, begin, end)
	used := end[0].minus(begin[0])
	if part := used.helpers.Seconds() / used.clocks().Seconds(); part < 0.04 {
		t.Errorf("virtiofsd made only %.1f %% of the CPU time: nothing is shown", 100*part)
	}
	if off := used.exported.Seconds()/used.clocks().Seconds() - 1; off > 0.02 || off < -0.02 {
		t.Errorf("scaph_vm_cpu_seconds_total grew by %s, the clocks by %s (qemu) + %s (virtiofsd)", used.exported, used.qemu, used.helpers)
	}
}

// judgeRatio allows 2 % between the ratio of energies and that of CPU times, and gives the latter.
func judgeRatio(t *testing.T, g *ground, begin, end []moment) float64 {
	t.Helper()
	var joules, seconds [2]float64
	for i := range g.guests {
		used := end[i].minus(begin[i])
		joules[i], seconds[i] = float64(used.energy)/1e6, used.clocks().Seconds()
		t.Logf("%s: %.3f J for %.3f s of CPU (qemu %s, helpers %s; exported %s), %.4f J/s", g.guests[i].share,
			joules[i], seconds[i], used.qemu.Round(time.Millisecond), used.helpers.Round(time.Millisecond),
			used.exported.Round(time.Millisecond), joules[i]/seconds[i])
	}
	energies, times := joules[0]/joules[1], seconds[0]/seconds[1]
	difference := energies/times - 1
	t.Logf("ratio of energies %.4f, of CPU times %.4f: %+.2f %%", energies, times, 100*difference)
	if difference > 0.02 || difference < -0.02 {
		t.Error("more than 2 % apart")
	}
	return times
}
