package series

import "github.com/scaph/scaph/internal/snapshot"

func buildInfo(w *Walker) {
	if p := w.Program; p != nil {
		w.text(p.Version)
		w.text(p.Revision)
		w.text(p.GoVersion)
		w.gauge(1)
	}
}

// errorsTotal adds the meter's and the program's counts of one component up: they are one series.
func errorsTotal(w *Walker) {
	var others []snapshot.ErrorCount
	if w.Program != nil {
		others = w.Program.Errors
	}
	for _, e := range w.Snapshot.Errors {
		n := e.Count
		for _, o := range others {
			if o.Component == e.Component {
				n += o.Count
			}
		}
		w.text(e.Component)
		w.counter(float64(n), w.start())
	}
	for _, o := range others {
		if !counts(w.Snapshot.Errors, o.Component) {
			w.text(o.Component)
			w.counter(float64(o.Count), w.start())
		}
	}
}

func counts(errors []snapshot.ErrorCount, component string) bool {
	for i := range errors {
		if errors[i].Component == component {
			return true
		}
	}
	return false
}

func treeReads(w *Walker) {
	if p := w.Program; p != nil && p.Tree != nil {
		w.counter(float64(p.Tree.Reads), p.Start)
	}
}

func treeResumes(w *Walker) {
	if p := w.Program; p != nil && p.Tree != nil {
		w.counter(float64(p.Tree.Resumes), p.Start)
	}
}

func vmConflicts(w *Walker) {
	if w.Snapshot.VMSource != "" {
		w.counter(float64(w.Snapshot.Conflicts), w.start())
	}
}
