package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
)

// Truth is what one counter has really counted, in µJ since the start, never wrapped.
type Truth struct {
	Name     string `json:"name"`      // package-0
	Energy   uint64 `json:"energy"`    // now
	LastRead uint64 `json:"last_read"` // when its file was last read, by anybody
	Wraps    uint64 `json:"wraps"`     // how often the file has shown a wrap until now
}

// truth gives the Truth of every counter by zone id, all at one moment.
func (p *plant) truth() map[string]Truth {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]Truth, len(p.counters))
	for _, c := range p.counters {
		p.advance(c)
		all[c.id] = Truth{Name: c.name, Energy: c.energy, LastRead: c.lastRead, Wraps: c.wraps(c.energy)}
	}
	return all
}

func control(p *plant) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /truth", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(p.truth()); err != nil {
			slog.Warn("truth not sent", "error", err)
		}
	})
	mux.HandleFunc("POST /freeze", func(http.ResponseWriter, *http.Request) { p.freeze(true) })
	mux.HandleFunc("POST /resume", func(http.ResponseWriter, *http.Request) { p.freeze(false) })
	return mux
}
