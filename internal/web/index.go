package web

import (
	"html/template"
	"net/http"
)

var page = template.Must(template.New("index").Parse(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Program}}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;margin:3rem auto;max-width:40rem;padding:0 1rem}
strong{background:#fd6;padding:.2em .5em}</style></head>
<body>
<h1>{{.Program}}</h1>
<p>Power and energy of virtual machines and processes. Version {{.Version}}{{with .Revision}} ({{.}}){{end}}.</p>
{{if .Simulated}}<p><strong>Simulated: the numbers are an estimate, no hardware counter is behind them.</strong></p>{{end}}
<p>{{.State}}</p>
<ul>
{{range .Pages}}<li><a href="{{.Path}}">{{.Path}}</a>: {{.Summary}}</li>
{{end}}<li><a href="/healthz">/healthz</a>: the process is alive</li>
<li><a href="/readyz">/readyz</a>: the last measurement is recent</li>
{{if .Pprof}}<li><a href="/debug/pprof/">/debug/pprof/</a>: profiles of the program</li>
{{end}}</ul>
</body>
</html>
`))

// index writes the page for a person who opens the address in a browser.
func index(w http.ResponseWriter, o Options) {
	data := struct {
		Options
		Simulated bool
		State     string
	}{Options: o, State: "Ready."}
	if err := ready(o); err != nil {
		data.State = err.Error()
	}
	if snapshot := o.Source.Latest(); snapshot != nil {
		data.Simulated = snapshot.Simulated
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if err := page.Execute(w, data); err != nil {
		o.Logger.Debug("index page", "error", err) // the client has gone
	}
}
