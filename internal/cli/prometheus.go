package cli

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/scaph/scaph/internal/app"
	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/export/prometheus"
	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/system"
)

// addPrometheus opens the endpoint, if there is to be one, and adds its server to the app. tree may be nil.
func (e *Env) addPrometheus(a *app.App, tree prometheus.TreeCounters) error {
	c := a.Config.Prometheus
	if !c.Enabled {
		a.OnStart(func() { e.server = nil })
		return nil
	}
	ver, revision := Version()
	var compat func() *series.System
	if c.Compat {
		collector := system.New(system.Options{
			Procfs: a.Config.Host.Procfs, Sysfs: a.Config.Host.Sysfs, Latest: a.Latest, Interval: a.Config.Interval, Version: ver,
		})
		compat = collector.Latest
		a.Add(app.Service{Name: "system", Run: collector.Run})
	}
	server, err := prometheus.Listen(prometheus.Options{
		Program: string(e.Program.Kind), Build: prometheus.Build{Version: ver, Revision: revision},
		Source: a, Tree: tree, System: compat,
		Listen: c.Listen, Path: c.Path, WebConfig: c.WebConfig, Logger: a.Log,
	}, e.server)
	if err != nil {
		return err
	}
	a.OnClose(server.Close)
	a.OnStart(func() {
		e.server = server
		a.Log.Info("serving metrics", "address", server.Addr().String(), "path", c.Path)
	})
	a.Add(app.Service{Name: "prometheus", Run: server.Run, Drains: true})
	return nil
}

func (e *Env) prometheusCommand() *cobra.Command {
	var address, suffix string
	var port uint16
	var qemu bool
	cmd := &cobra.Command{
		Use:   "prometheus",
		Short: "Serve metrics to Prometheus over HTTP, and nothing else",
		Example: fmt.Sprintf(`  # http://127.0.0.1:8080/metrics
  %[1]s prometheus
  # on every address, with TLS and basic authentication
  SCAPH_PROMETHEUS_WEB_CONFIG=/etc/scaph/web.yml %[1]s prometheus --address :: --port 9110`, e.Program.Kind),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := setListen(cmd.Flags(), address, port, suffix); err != nil {
				return err
			}
			return e.Serve(cmd, Service{
				Keep: app.KeepIfPossible,
				Keys: map[string]string{"listen": "prometheus.listen", "path": "prometheus.path"},
				Adjust: func(c *config.Config) {
					c.Prometheus.Enabled = true
					c.Tree.Enabled = config.None
				},
			})
		},
	}
	defaults := config.Default().Prometheus
	host, portText, _ := net.SplitHostPort(defaults.Listen)
	defaultPort, _ := strconv.ParseUint(portText, 10, 16)
	flags := cmd.Flags()
	flags.StringVarP(&address, "address", "a", host, "address to listen on")
	flags.Uint16VarP(&port, "port", "p", uint16(defaultPort), "port to listen on")
	flags.StringVarP(&suffix, "suffix", "s", strings.TrimPrefix(defaults.Path, "/"), "path of the metrics, without its first slash")
	for _, key := range []string{"listen", "path"} { // what the flags above come to; see setListen
		flags.String(key, "", "")
		_ = flags.MarkHidden(key) // fails only for a flag that is not there
	}
	addQemuFlag(cmd, &qemu)
	return cmd
}

// setListen puts address, port and suffix together to the two values that the configuration knows, so that they are
// validated and reported like any others.
func setListen(flags *pflag.FlagSet, address string, port uint16, suffix string) error {
	if flags.Changed("address") || flags.Changed("port") {
		listen := net.JoinHostPort(strings.Trim(address, "[]"), strconv.Itoa(int(port)))
		if err := flags.Set("listen", listen); err != nil {
			return err
		}
	}
	if flags.Changed("suffix") {
		return flags.Set("path", "/"+strings.TrimPrefix(suffix, "/"))
	}
	return nil
}

// addQemuFlag takes the flag that scaphandre's users have in their units: what it asked for is always done.
func addQemuFlag(cmd *cobra.Command, qemu *bool) {
	cmd.Flags().BoolVarP(qemu, "qemu", "q", false, "accepted for compatibility: virtual machines are always told apart")
	_ = cmd.Flags().MarkHidden("qemu") // fails only for a flag that is not there
}
