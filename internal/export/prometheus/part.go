package prometheus

import (
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/series"
	"github.com/scaph/scaph/internal/system"
	"github.com/scaph/scaph/internal/web"
)

// Part is the exporter as the programs know it.
func Part() export.Part {
	return export.Part{
		Name:    "prometheus",
		Summary: "Serve metrics to Prometheus over HTTP, and nothing else",
		Section: func() export.Section { return defaults() },
		Command: export.Command{
			Example: `  # http://127.0.0.1:8080/metrics
  %[1]s prometheus
  # on every address, with TLS and basic authentication
  SCAPH_WEB_CONFIG=/etc/scaph/web.yml %[1]s prometheus --address :: --port 9110`,
			Flags: flags,
		},
	}
}

// Config is the section of the configuration.
type Config struct {
	export.Switch `mapstructure:",squash"`
	Path          string `mapstructure:"path" allowed:"a URL path that begins with / and is none of the server's own (/, /healthz, /readyz, /debug/pprof)"`
	// ScrapeInterval is the longest interval at which anybody scrapes: a series is shown at 0 for that long before it
	// counts, so that no increase is missed.
	ScrapeInterval time.Duration `mapstructure:"scrape_interval" allowed:"a duration from 1s to 1h, such as 1m"`
	// Compat adds the series that scaphandre has, under its names.
	Compat bool `mapstructure:"compat" allowed:"true or false"`
}

func defaults() *Config {
	return &Config{Switch: export.Switch{Enabled: true}, Path: "/metrics", ScrapeInterval: time.Minute, Compat: true}
}

// Check calls bad with the name of each key whose value is not allowed.
func (c *Config) Check(bad func(key string)) {
	if !web.ValidPath(c.Path) {
		bad("path")
	}
	if c.ScrapeInterval < time.Second || c.ScrapeInterval > time.Hour {
		bad("scrape_interval")
	}
}

// ReadEvery is the longest interval at which series are read.
func (c *Config) ReadEvery() time.Duration { return c.ScrapeInterval }

// Open has the page ready. What only scaphandre's series show is collected beside the ticks.
func (c *Config) Open(p export.Program) (*export.Exporter, error) {
	build := Build{Version: p.Version, Revision: p.Revision}
	e := &export.Exporter{Target: c.Path}
	var compat func() *series.System
	if c.Compat {
		collector := system.New(system.Options{
			Procfs: p.Procfs, Sysfs: p.Sysfs, Next: p.Source.Next, Version: p.Version,
		})
		compat, e.Run = collector.Latest, collector.Run
	}
	e.Pages = []web.Page{{Path: c.Path, Summary: "metrics", Handler: newMetrics(p.Source, p.Tree, compat, build, p.Log)}}
	return e, nil
}

// flags adds scaphandre's. They come to two keys, which are set by flags that are hidden, so that they are validated and
// reported like any others.
func flags(set *pflag.FlagSet) export.Flags {
	host, portText, _ := net.SplitHostPort(web.Default().Listen[0])
	defaultPort, _ := strconv.ParseUint(portText, 10, 16) // it is our own
	address := set.StringP("address", "a", host, "address to listen on")
	port := set.Uint16P("port", "p", uint16(defaultPort), "port to listen on")
	suffix := set.StringP("suffix", "s", strings.TrimPrefix(defaults().Path, "/"), "path of the metrics, without its first slash")
	for _, name := range []string{"listen", "path"} {
		set.String(name, "", "")
		_ = set.MarkHidden(name) // fails only for a flag that is not there
	}
	export.AddQemu(set)
	return export.Flags{
		Keys: map[string]string{"listen": "web.listen", "path": "prometheus.path"},
		Read: func() error {
			if set.Changed("address") || set.Changed("port") {
				listen := net.JoinHostPort(strings.Trim(*address, "[]"), strconv.Itoa(int(*port)))
				if err := set.Set("listen", listen); err != nil {
					return err
				}
			}
			if set.Changed("suffix") {
				return set.Set("path", "/"+strings.TrimPrefix(*suffix, "/"))
			}
			return nil
		},
	}
}
