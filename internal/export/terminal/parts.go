package terminal

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
)

// Longest names in a table, in bytes.
const (
	maxName = 32
	maxExe  = 64
)

// writeHost writes the host's line, and what must not be overlooked.
func writeHost(b *bytes.Buffer, v snapshot.View) {
	fmt.Fprintf(b, "Host:  %s  from %s", watts(v.HostPower), v.Host.Source)
	for i := range v.Zones {
		if z := &v.Zones[i]; z.Kind == energy.Psys && !z.Attributed {
			fmt.Fprintf(b, "  (psys %s)", watts(v.ZonePower[i]))
		}
	}
	if v.Simulated {
		b.WriteString("  SIMULATED: an estimate, not a measurement")
	}
	b.WriteByte('\n')
	writeBeside(b, v)
	for i := range v.Zones {
		z := &v.Zones[i]
		zone := func(fault string) {
			fmt.Fprintf(b, "Zone %s (%s) %s.\n", series.Printable(z.Path, maxName), series.Printable(z.Name, maxName), fault)
		}
		switch {
		case z.Failed:
			zone("could not be read")
		case z.Frozen && z.Attributed:
			zone("does not move")
		case z.Mirrors != "":
			zone("mirrors " + series.Printable(z.Mirrors, maxName) + ", which counts for both")
		}
	}
}

// writeBeside writes what is measured beside the host's zones, the first few.
func writeBeside(b *bytes.Buffer, v snapshot.View) {
	const most = 4
	n := 0
	for i := range v.Zones {
		z := &v.Zones[i]
		if z.Split != energy.ByNothing || z.Missing || z.Failed {
			continue
		}
		switch n++; {
		case n == 1:
			b.WriteString("Beside it, charged to nobody:  ")
		case n <= most:
			b.WriteString(", ")
		}
		if n <= most {
			fmt.Fprintf(b, "%s %s %s", z.Kind, series.Printable(z.Name, maxName), watts(v.ZonePower[i]))
		}
	}
	if n > most {
		fmt.Fprintf(b, " and %d more", n-most)
	}
	if n > 0 {
		b.WriteByte('\n')
	}
}

// writeSockets writes a line for each CPU package, with its parts.
func writeSockets(b *bytes.Buffer, v snapshot.View) {
	type part struct {
		socket int
		kind   energy.Kind
	}
	power := map[part]energy.Watts{}
	var sockets []int
	var kinds energy.KindSet
	for i := range v.Zones {
		z := &v.Zones[i]
		if z.Package < 0 {
			continue
		}
		power[part{z.Package, z.Kind}] += v.ZonePower[i] // the dies of a socket are summed
		if !slices.Contains(sockets, z.Package) {
			sockets = append(sockets, z.Package)
		}
		kinds = kinds.With(z.Kind)
	}
	if len(sockets) == 0 {
		return
	}
	headings := []string{""}
	for k := range kinds.All() {
		headings = append(headings, ">"+k.String())
	}
	t := newTable(headings...)
	slices.Sort(sockets)
	for _, socket := range sockets {
		row := []string{"Socket" + strconv.Itoa(socket)}
		for k := range kinds.All() {
			cell := "-" // not every socket has every part
			if p, ok := power[part{socket, k}]; ok {
				cell = watts(p)
			}
			row = append(row, cell)
		}
		t.add(row...)
	}
	t.write(b)
}

// writeVMs writes the table of virtual machines of a round.
func writeVMs(b *bytes.Buffer, v snapshot.View) {
	t := newTable("VM", "UUID", "State", ">Power", ">Energy", ">Of host")
	for _, vm := range v.VMs {
		short, _, _ := strings.Cut(vm.UUID, "-")
		t.add(series.Printable(vm.Name, maxName), series.Printable(short, maxName), series.Printable(vm.State, maxName),
			watts(vm.Power), amount(vm.Energy), percent(vm.Share))
	}
	t.write(b)
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// writeConsumers writes the n consumers with the highest power whose name or executable matches.
func writeConsumers(b *bytes.Buffer, v snapshot.View, n int, match *regexp.Regexp) {
	t := newTable(">Power", ">PID", "Exe")
	for _, c := range v.Consumers {
		if len(t.rows) > n {
			break
		}
		if match != nil && !match.MatchString(c.Comm) && !match.MatchString(c.Exe) {
			continue
		}
		name := series.Printable(c.Exe, maxExe)
		switch {
		case c.VM:
			name = "VM " + series.Printable(c.Comm, maxName)
		case name == "":
			name = "[" + series.Printable(c.Comm, maxName) + "]"
		}
		t.add(watts(c.Power), strconv.Itoa(int(c.PID)), name)
	}
	fmt.Fprintf(b, "Top %d consumers:\n", n)
	t.write(b)
}

// writeUnattributed writes what nobody is charged for, and why.
func writeUnattributed(b *bytes.Buffer, v snapshot.View) {
	if len(v.Unattributed) == 0 {
		return
	}
	var sum energy.Watts
	var reasons []string
	for _, u := range v.Unattributed {
		sum += u.Power
		reasons = append(reasons, u.Reason+" "+watts(u.Power))
	}
	fmt.Fprintf(b, "Unattributed:  %s  (%s)\n", watts(sum), strings.Join(reasons, ", "))
}
