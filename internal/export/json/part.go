// Package json writes Snapshots for programs: as the array of reports that scaphandre's users have, or one JSON object a line
// with explicit units.
//
// What is in a file is whole at any time. A report becomes part of it by one write at its end; one that fails, as on a full
// disk, is taken back, and what a crash has left of one is cut off before the next is written. So there may be gaps, each
// a counted fault, and never a broken line.
package json

import (
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"github.com/spf13/pflag"

	"github.com/scaph/scaph/internal/export"
)

// Part is the exporter as the programs know it.
func Part() export.Part {
	return export.Part{
		Name:    "json",
		Summary: "Write JSON: an array of reports as scaphandre has it, or a line each with units",
		Section: func() export.Section { return defaults() },
		Command: export.Command{
			Example: `  # for 10 s, an array of five reports on standard output
  %[1]s json -t 10
  # a line each 5 s for ever, in files of at most 10 MB
  %[1]s json -s 5 --format jsonl -f /var/log/scaph.jsonl --rotate-size 10MB`,
			Flags: flags,
		},
	}
}

// The formats.
const (
	arrayFormat = "array"
	lineFormat  = "jsonl"
)

// Config is the section of the configuration.
type Config struct {
	export.Switch `mapstructure:",squash"`
	Format        string        `mapstructure:"format" oneof:"array jsonl"`
	File          string        `mapstructure:"file" allowed:"empty for standard output, or an absolute path"`
	Interval      time.Duration `mapstructure:"interval" allowed:"a duration from 0s to 24h; 0s: at every tick"` // between reports
	Top           int           `mapstructure:"top" allowed:"a whole number from 0 to 10000"`                    // consumers in a report
	Regex         string        `mapstructure:"process_regex" allowed:"empty, or a regular expression of Go (RE2)"`
	Rotate        Rotate        `mapstructure:"rotate"`
}

// Rotate says when a file is set aside, and how many of them are kept.
type Rotate struct {
	Size     Size          `mapstructure:"size" allowed:"a size with its unit (kB, MB, GB), such as 100MB, from 4kB to 1000GB; 0B: never for its size"`
	Interval time.Duration `mapstructure:"interval" allowed:"a duration from 1s to 8760h, such as 24h, counted in UTC; 0s: never for its age"`
	Keep     int           `mapstructure:"keep" allowed:"a whole number from 0 to 10000; 0: all"`
}

func defaults() *Config {
	return &Config{Format: arrayFormat, Interval: 2 * time.Second, Top: 10, Rotate: Rotate{Size: 100 * megabyte, Keep: 7}}
}

// Check calls bad with the name of each key whose value is not allowed.
func (c *Config) Check(bad func(key string)) {
	require := func(key string, ok bool) {
		if !ok {
			bad(key)
		}
	}
	_, err := regexp.Compile(c.Regex)
	require("file", c.File == "" || filepath.IsAbs(c.File))
	require("interval", c.Interval >= 0 && c.Interval <= 24*time.Hour)
	require("top", c.Top >= 0 && c.Top <= 10000)
	require("process_regex", err == nil)
	r := c.Rotate
	require("rotate.size", r.Size == 0 || r.Size >= 4*kilobyte && r.Size <= 1000*gigabyte)
	require("rotate.interval", r.Interval == 0 || r.Interval >= time.Second && r.Interval <= 8760*time.Hour)
	require("rotate.keep", r.Keep >= 0 && r.Keep <= 10000)
}

// Open finds out whether the file can be written. It is opened when the exporter runs: until then, that of the former
// configuration writes it.
func (c *Config) Open(p export.Program) (*export.Exporter, error) {
	regex, err := regexp.Compile(c.Regex)
	if err != nil {
		return nil, fmt.Errorf("json.process_regex: %w", err)
	}
	x := &exporter{config: *c, program: p, regex: regex}
	target := c.File
	if c.File == "" {
		target = "standard output"
		x.out = &stream{out: p.Out, array: c.Format == arrayFormat}
	} else {
		f := &file{path: c.File, array: c.Format == arrayFormat, rotate: c.Rotate}
		if err := f.examine(); err != nil {
			return nil, fmt.Errorf("json.file %s: %w", c.File, err)
		}
		x.out = f
	}
	return &export.Exporter{Target: target, Run: x.run}, nil
}

func flags(set *pflag.FlagSet) export.Flags {
	d := defaults()
	steps := export.AddSteps(set, -1, 2)
	nano := set.Int64("step-nano", 0, "nanoseconds that a step is longer")
	set.Int("max-top-consumers", d.Top, "how many consumers are in a report")
	set.StringP("file", "f", "", "file to write to (default: standard output)")
	set.String("format", d.Format, "array (as scaphandre has it) or jsonl (a line each, with units)")
	set.String("process-regex", "", "only consumers whose name or executable matches")
	set.String("rotate-size", d.Rotate.Size.String(), "set the file aside before it is larger; 0B: never")
	set.String("rotate-interval", d.Rotate.Interval.String(), "set the file aside so often; 0s: never")
	set.Int("rotate-keep", d.Rotate.Keep, "how many files that were set aside are kept; 0: all")
	set.String("every", "0s", "") // a command reports at every one of its steps
	_ = set.MarkHidden("every")   // fails only for a flag that is not there
	export.AddQemu(set)
	var pace export.Pace
	return export.Flags{
		Keys: map[string]string{
			"max-top-consumers": "json.top", "file": "json.file", "format": "json.format", "process-regex": "json.process_regex",
			"rotate-size": "json.rotate.size", "rotate-interval": "json.rotate.interval", "rotate-keep": "json.rotate.keep",
			"every": "json.interval",
		},
		Read: func() (err error) {
			if pace, err = steps.Pace(time.Duration(*nano)); err != nil {
				return err
			}
			if path := set.Lookup("file").Value.String(); path != "" {
				if path, err = filepath.Abs(path); err != nil {
					return fmt.Errorf("--file: %w", err)
				}
				if err := set.Set("file", path); err != nil {
					return err
				}
			}
			return set.Set("every", "0s")
		},
		Pace: func() export.Pace { return pace },
	}
}
