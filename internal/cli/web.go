package cli

import (
	"log/slog"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/web"
)

// webSection is the name of the server's section of the configuration.
const webSection = "web"

// addWeb opens the process's HTTP server, if it is to have an address, and adds it to the App.
func (e *Env) addWeb(a *app.App, pages []web.Page) error {
	c := section[*web.Config](a.Config, webSection)
	if len(c.Listen) == 0 {
		a.OnStart(func() {
			e.server = nil
			if len(pages) > 0 {
				a.Log.Warn("pages are not served", "key", "web.listen", "pages", len(pages))
			}
		})
		return nil
	}
	server, err := e.listen(*c, a, a.Log, pages, e.server)
	if err != nil {
		return err
	}
	a.OnClose(server.Close)
	a.OnStart(func() {
		e.server = server
		for _, address := range server.Addrs() {
			a.Log.Info("serving HTTP", "address", address.String())
		}
	})
	a.Add(app.Service{Name: webSection, Run: server.Run, Drains: true})
	return nil
}

func (e *Env) listen(c web.Config, source web.Source, log *slog.Logger, pages []web.Page, former *web.Server) (*web.Server, error) {
	version, revision := Version()
	return web.Listen(web.Options{
		Config: c, Program: string(e.Program.Kind), Version: version, Revision: revision,
		Source: source, Pages: pages, Profiles: e.Program.Profiles, Logger: log,
	}, former)
}
