// Package toy is an exporter that does next to nothing: it shows what a part takes. Its line, beside those of package parts,
// is in the test, which has a program of both.
package toy

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/pflag"

	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/web"
)

// Part is the exporter as the programs know it.
func Part() export.Part {
	return export.Part{
		Name:    "toy",
		Summary: "Say how many watts the host takes",
		Section: func() export.Section { return &Config{Greeting: "Hello"} },
		Command: export.Command{
			Example: "  %[1]s toy --greeting Hi",
			Flags: func(set *pflag.FlagSet) export.Flags {
				set.String("greeting", "Hello", "what is said first")
				return export.Flags{Keys: map[string]string{"greeting": "toy.greeting"}}
			},
		},
	}
}

// Config is the section of the configuration.
type Config struct {
	export.Switch `mapstructure:",squash"`
	Greeting      string `mapstructure:"greeting" allowed:"one word or more"`
}

// Check calls bad with the name of each key whose value is not allowed.
func (c *Config) Check(bad func(key string)) {
	if c.Greeting == "" {
		bad("greeting")
	}
}

// Open has a page, and a loop that says the same at every tick.
func (c *Config) Open(p export.Program) (*export.Exporter, error) {
	say := func() string {
		if s := p.Source.Latest(); s != nil {
			return fmt.Sprintf("%s, the host takes %.1f W.", c.Greeting, float64(s.Host.Power))
		}
		return c.Greeting + "."
	}
	return &export.Exporter{
		Target: "whoever listens",
		Pages: []web.Page{{Path: "/toy", Summary: "a greeting", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			web.Answer(w, http.StatusOK, say())
		})}},
		Run: func(ctx context.Context) error {
			for s := p.Source.Next(ctx, 0); s != nil; s = p.Source.Next(ctx, s.Seq) {
				if _, err := fmt.Fprintln(p.Out, say()); err != nil {
					p.Failed()
				}
			}
			return nil
		},
	}, nil
}
