package main

import (
	"fmt"
	"slices"
)

// twentieth is the part of a plain scan's cost that a tick with BPF may have.
const twentieth = 1.0 / 20

const plainScan = "procfs scan"

// rows sets what was measured against the budgets.
func (m *measurement) rows() []row {
	scanGrowth := growth(m.few, m.many, m.few.scan, m.many.scan)
	rows := []row{
		{what: plainScan + " (AllProcs, Stat)", unit: "ms", budget: none, measured: scaled(m.few.scan, 1e-3), ratio: none, atMost: none},
		{what: plainScan + ", per further process", unit: "µs", budget: none, measured: scanGrowth, ratio: none, atMost: none},
	}
	sources := []struct {
		name         string
		tick, growth float64 // budgets: ms, µs
		atMost       float64
	}{{"bpf", 2, 1, twentieth}, {"procfs", 20, 15, none}}
	for i, source := range sources {
		grown := growth(m.few, m.many, m.few.host[i], m.many.host[i])
		asserted := source.atMost != none
		rows = append(rows,
			row{what: source.name + " tick", unit: "ms", budget: source.tick, measured: scaled(m.few.host[i], 1e-3),
				ratio: m.few.host[i].median() / m.few.scan.median(), atMost: source.atMost, beside: plainScan, asserted: asserted},
			row{what: source.name + " tick, per further process", unit: "µs", budget: source.growth, measured: grown,
				ratio: grown.median() / scanGrowth.median(), atMost: source.atMost, beside: plainScan, asserted: asserted})
	}
	for i, source := range sources {
		what := fmt.Sprintf("%s, memory, %d machines, %d processes", source.name, machinesMany, m.many.processes)
		rows = append(rows, memoryRows(what, 40, m.host[i], true)...)
	}
	for _, p := range []population{m.few, m.many} {
		rows = append(rows, memoryRows(fmt.Sprintf("scaph-guest, memory, %d processes", p.processes), 15, p.guest, false)...)
	}
	for _, scrape := range []struct {
		name    string
		answers []answer
	}{{"plain", m.plain}, {"gzip", m.gzip}} {
		var wall, cpu figure
		for _, a := range scrape.answers {
			wall, cpu = append(wall, a.wall/1e3), append(cpu, a.cpu/1e3)
		}
		what := fmt.Sprintf("/metrics, %d machines, %s", machinesMost, scrape.name)
		rows = append(rows,
			row{what: what, unit: "ms", budget: 5, measured: wall, ratio: none, atMost: none},
			row{what: what + ", CPU time", unit: "ms", budget: none, measured: cpu, ratio: none, atMost: none})
	}
	return append(rows, row{what: "scaph-guest, static binary", unit: "MB", budget: 15,
		measured: figure{float64(m.guestSize) / 1e6}, ratio: none, atMost: none})
}

// memoryRows are what a process has, and what of it is its own.
func memoryRows(what string, budget float64, sizes []size, asserted bool) []row {
	var all, anonymous figure
	for _, s := range sizes {
		all, anonymous = append(all, s.all), append(anonymous, s.anonymous)
	}
	return []row{
		{what: what, unit: "MB", budget: budget, measured: all, ratio: none, atMost: none, asserted: asserted},
		{what: "anonymous", unit: "MB", budget: none, measured: anonymous, ratio: none, atMost: none},
	}
}

// growth gives, for each quantile, what one process more costs.
func growth(few, many population, before, after figure) figure {
	before, after = slices.Sorted(slices.Values(before)), slices.Sorted(slices.Values(after))
	grown := make(figure, min(len(before), len(after)))
	for i := range grown {
		grown[i] = (after[i] - before[i]) / float64(many.processes-few.processes)
	}
	return grown
}

func scaled(f figure, factor float64) figure {
	scaled := make(figure, len(f))
	for i, v := range f {
		scaled[i] = v * factor
	}
	return scaled
}
