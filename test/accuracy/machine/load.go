package machine

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A habit is how much of a CPU each thread of a process wants.
type habit struct {
	chance float64 // of being busy in a step
	busy   float64 // CPUs wanted when busy
	quiet  float64 // CPUs wanted otherwise
}

// The habits. Bursts matter: a meter that charges one step's energy by another step's CPU time is
// right on average about a steady load.
var (
	steady = habit{chance: 1, busy: 0.35}
	bursty = habit{chance: 0.25, busy: 0.95, quiet: 0.02}
	light  = habit{chance: 0.8, busy: 0.12, quiet: 0.01}
	never  = habit{}
)

// anywhere is the package of a process that is not pinned.
const anywhere = -1

// A process of the machine.
type process struct {
	pid     int
	start   uint64 // clock ticks since boot
	comm    string
	exe     string   // "" for a kernel thread
	argv    []string // of virtual machines
	account string
	class   int
	pinned  int
	habit   habit
	threads []*thread
	ends    int // the step in which it ends at the earliest, 0 for never
}

// A thread has CPU time.
type thread struct {
	tid  int
	cpu  int
	user time.Duration
	sys  time.Duration
}

// The load is all processes and the chance that drives them.
type load struct {
	random    *rand.Rand
	processes map[int]*process
	order     []*process
	nextPID   int
	steps     int
}

// newLoad populates a machine: virtual machines of different habits, two of them with one name, and ordinary
// processes beside them. On a machine with several packages some are pinned.
func newLoad(o Options, random *rand.Rand, now time.Duration) *load {
	l := &load{random: random, processes: make(map[int]*process), nextPID: 2}
	l.add(process{comm: "init", exe: "/usr/sbin/init", account: Processes, pinned: anywhere, habit: light}, 1, now)
	if !o.Guest {
		second := 1 % o.Packages
		for i, vm := range []struct {
			name    string
			habit   habit
			pinned  int
			threads int
		}{
			{"steady", steady, anywhere, 3},
			{"pinned-first", steady, 0, 3},
			{"pinned-second", bursty, second, 4},
			{"bursty", bursty, anywhere, 5},
			{"twin", light, anywhere, 3},
			{"twin", steady, anywhere, 2},
			{"asleep", never, anywhere, 2},
		} {
			l.add(guest(i, o.Seed, vm.name, vm.habit, vm.pinned), vm.threads, now)
		}
	}
	for i := range 6 {
		p := process{comm: fmt.Sprintf("work (%d)", i), exe: "/usr/bin/work", account: Processes, pinned: anywhere}
		p.class, p.habit = i%classes, []habit{steady, bursty, light}[i%3]
		l.add(p, 1+i%3, now)
	}
	return l
}

// guest makes the qemu of a virtual machine.
func guest(i int, seed uint64, name string, h habit, pinned int) process {
	uuid := fmt.Sprintf("%08x-2222-4222-8222-%012x", seed, i+1)
	return process{
		comm: "qemu-system-x86", exe: "/usr/bin/qemu-system-x86_64",
		argv:    []string{"/usr/bin/qemu-system-x86_64", "-name", "guest=" + name + ",debug-threads=on", "-uuid", uuid, "-smp", "2"},
		account: uuid, class: i % classes, habit: h, pinned: pinned,
	}
}

// add starts a process, which has lived for a while by now if the machine is only being populated.
func (l *load) add(p process, threads int, now time.Duration) {
	p.pid = l.nextPID
	if len(l.order) == 0 {
		p.pid = 1
	}
	p.start = uint64(now / tick)
	if l.steps == 0 {
		p.start = uint64(100 * p.pid)
	}
	for i := range threads {
		p.threads = append(p.threads, &thread{tid: p.pid + i})
	}
	l.nextPID += threads + 1
	l.processes[p.pid] = &p
	l.order = append(l.order, &p)
}

// A runner gives a CPU to somebody for at most want, and tells how long he had it.
type runner func(cpu int, want time.Duration, account string, class int) time.Duration

// step lets one step's work happen. free is what is left of each CPU.
func (l *load) step(m *Machine, free []time.Duration, run runner) {
	l.steps++
	if l.random.IntN(4) == 0 { // it will live for some steps; its last one cannot be seen
		l.add(process{
			comm: "job", exe: "/usr/bin/job", account: Processes, pinned: anywhere, habit: steady,
			ends: l.steps + 2 + l.random.IntN(6),
		}, 1+l.random.IntN(2), m.now-m.Options.Step/2)
	}
	for range l.random.IntN(m.Storm + 1) {
		run(l.place(m, free, anywhere), 20*time.Millisecond, Unseen, 0)
	}
	l.random.Shuffle(len(l.order), func(i, j int) { l.order[i], l.order[j] = l.order[j], l.order[i] })
	living := l.order[:0]
	for _, p := range l.order {
		account := p.account
		if p.ends > 0 && p.ends <= l.steps && !m.away {
			account = Unseen
			delete(l.processes, p.pid)
		} else {
			living = append(living, p)
		}
		wanted := p.habit.quiet
		if l.random.Float64() < p.habit.chance {
			wanted = p.habit.busy * (0.7 + 0.6*l.random.Float64())
		}
		for _, t := range p.threads {
			want := time.Duration(wanted * (0.8 + 0.4*l.random.Float64()) * float64(m.Options.Step))
			t.cpu = l.place(m, free, p.pinned)
			got := run(t.cpu, want, account, p.class)
			t.user += got * 7 / 10
			t.sys += got - got*7/10
		}
	}
	l.order = living
}

// place chooses the CPU that has most time left.
func (l *load) place(m *Machine, free []time.Duration, pinned int) int {
	best := -1
	for c := range free {
		if (pinned == anywhere || m.cpus[c].pkg == pinned) && (best < 0 || free[c] > free[best]) {
			best = c
		}
	}
	return best
}
