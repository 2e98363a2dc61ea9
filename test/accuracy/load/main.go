// Load uses CPU time and knows exactly how much: it is the real load of the closed loop. It obeys the lines that it
// reads:
//
//	go     work
//	stop   rest; then one line of JSON is printed: the CPU time used so far (see Clocks)
//
// It is configured by the environment, since as a stand-in for a guest it has a qemu's command line:
//
//	LOAD_THREADS  number of threads that work
//	LOAD_DUTY     how much of a CPU each wants, from 0 to 1
//	LOAD_STORM    how many processes of 20 ms it starts in a second, one after the other
//	LOAD_BURN     be such a process
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"
)

// burst is how long a process of a storm works.
const burst = 20 * time.Millisecond

func main() {
	if os.Getenv("LOAD_BURN") != "" {
		for processTime() < burst {
		}
		return
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// serve obeys until its input ends.
func serve() error {
	w := newWorkers(number("LOAD_THREADS"), number("LOAD_DUTY"))
	s := &storm{rate: number("LOAD_STORM")}
	out := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "go":
			w.start()
			s.start()
		case "stop":
			w.rest()
			if err := s.rest(); err != nil {
				return err
			}
			clocks := Clocks{Process: processTime().Seconds(), Threads: w.clocks(), Children: s.used.Seconds(), Count: s.count}
			if err := out.Encode(clocks); err != nil {
				return err
			}
		}
	}
	return nil
}

// Clocks are CPU times in s since the start, from the kernel's own clocks of this process.
type Clocks struct {
	Process  float64   `json:"process"`  // CLOCK_PROCESS_CPUTIME_ID: all threads
	Threads  []float64 `json:"threads"`  // of each working thread
	Children float64   `json:"children"` // of all processes of the storm, by wait4(2)
	Count    int       `json:"count"`    // of them
}

func number(name string) float64 {
	n, _ := strconv.ParseFloat(os.Getenv(name), 64) // 0 where it is not set
	return n
}
