// Package profiles serves profiles of the program itself, as net/http/pprof has them. It is apart from package web because it
// takes a third of a megabyte, which the guest's agent has not.
package profiles

import (
	"net/http"
	"net/http/pprof"
)

// Handler serves everything below /debug/pprof/, with the methods that `go tool pprof` has.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
