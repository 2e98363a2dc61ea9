package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode"
	"unicode/utf16"

	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/snapshot"
)

// A VMRecord is one virtual machine for other programs.
type VMRecord struct {
	Name         string  `json:"name"`
	UUID         string  `json:"uuid"`
	State        string  `json:"state"`
	Source       string  `json:"source"` // how it was found: libvirt, runtime, argv
	VCPUs        int     `json:"vcpus"`
	PID          int32   `json:"pid"` // 0 when it is shut off
	PowerWatts   float64 `json:"power_watts"`
	EnergyJoules float64 `json:"energy_joules"` // both parts
	ActiveJoules float64 `json:"active_joules"`
	IdleJoules   float64 `json:"idle_joules"`
	CPUSeconds   float64 `json:"cpu_seconds"`
	Share        string  `json:"share,omitempty"` // how its tree is attached: "virtiofs", "9p", "no"; "" where nobody looked
	Simulated    bool    `json:"simulated"`       // an estimate: no hardware counter is behind the numbers
}

// Records gives the virtual machines of a View. The function says how the tree of a machine, by UUID, is
// attached to it; it may be nil.
func Records(v snapshot.View, share func(uuid string) string) []VMRecord {
	records := make([]VMRecord, 0, len(v.VMs))
	for _, vm := range v.VMs {
		r := VMRecord{
			Name: vm.Name, UUID: vm.UUID, State: vm.State, Source: vm.Source, VCPUs: vm.VCPUs, PID: vm.PID,
			PowerWatts: float64(vm.Power), EnergyJoules: vm.Energy.Joules(),
			ActiveJoules: vm.ByPart[snapshot.Active].Joules(), IdleJoules: vm.ByPart[snapshot.Idle].Joules(),
			CPUSeconds: vm.CPU.Seconds(), Simulated: v.Simulated,
		}
		if share != nil {
			r.Share = share(vm.UUID)
		}
		records = append(records, r)
	}
	return records
}

// WriteVMs writes the virtual machines as a table of its own, or in words that there are none.
func WriteVMs(w io.Writer, v snapshot.View, share func(uuid string) string) error {
	var b bytes.Buffer
	if v.Simulated {
		b.WriteString("SIMULATED: an estimate, not a measurement\n")
	}
	if len(v.VMs) == 0 {
		b.WriteString("No virtual machines.\n")
		if v.VMSource != "" {
			b.WriteString("Looked for by " + series.Printable(v.VMSource, 300) + ".\n")
		}
		return flush(w, &b)
	}
	headings := []string{"NAME", "UUID", "STATE", ">POWER", ">ENERGY (kWh)", ">VCPUS", "FOUND BY"}
	if share != nil {
		headings = append(headings, "SHARE")
	}
	t := newTable(headings...)
	for _, r := range Records(v, share) {
		row := []string{
			series.Printable(r.Name, maxName), series.Printable(r.UUID, 36), series.Printable(r.State, maxName),
			watts(energy.Watts(r.PowerWatts)), fmt.Sprintf("%.6f", r.EnergyJoules/3.6e6), strconv.Itoa(r.VCPUs),
			series.Printable(r.Source, maxName),
		}
		if share != nil {
			row = append(row, series.Printable(r.Share, maxName))
		}
		t.add(row...)
	}
	t.write(&b)
	return flush(w, &b)
}

// WriteVMsJSON writes the virtual machines as a JSON array. Names are as they are, in ASCII escapes where
// a terminal could take them for commands.
func WriteVMsJSON(w io.Writer, v snapshot.View, share func(uuid string) string) error {
	text, err := json.MarshalIndent(Records(v, share), "", "  ")
	if err != nil {
		return fmt.Errorf("formatting virtual machines: %w", err)
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		if r != '\n' && !unicode.IsPrint(r) { // only in a string: JSON itself is ASCII
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
			continue
		}
		b.WriteRune(r)
	}
	b.WriteByte('\n')
	return flush(w, &b)
}
