package app

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/energy"
	"github.com/scaph/scaph/internal/hwmon"
	"github.com/scaph/scaph/internal/rapl"
	"github.com/scaph/scaph/internal/snapshot"
)

// ticksPerLook is how many ticks pass between two looks for zones.
const ticksPerLook = 60

// unknown says that the meter lacks one of the zones, or its range.
func (a *App) unknown(zones []energy.Zone) bool {
	s := a.Meter.Latest()
	return s != nil && slices.ContainsFunc(zones, func(z energy.Zone) bool {
		return !slices.ContainsFunc(s.Zones, func(have snapshot.Zone) bool {
			return !have.Missing && have.Path == z.Path && have.Name == z.Name && (have.Range != 0 || z.Range == 0)
		})
	})
}

// ZonesChanged delivers when the machine has other zones than the meter was made for; see WatchZones.
func (a *App) ZonesChanged() <-chan struct{} { return a.zonesChanged }

// WatchZones adds a service that looks for zones that were not there before (the driver was loaded late, a package came
// online), and tells of them by ZonesChanged. A zone that vanished is no reason: it may come back.
func (a *App) WatchZones(program config.Program) {
	a.Add(Service{Name: "zones", Run: func(ctx context.Context) error {
		var looks []func() []energy.Zone
		if a.Config.Sensor.Kind == "powercap" {
			// A reader of its own: the meter's is the tick's alone.
			reader, err := rapl.Open(PowercapDir(a.Config, program), rapl.WithLogger(slog.New(slog.DiscardHandler)))
			if err == nil { // else the meter opened the same zones, and says what is wrong with them
				defer func() { _ = reader.Close() }() // it has only looked
				looks = append(looks, func() []energy.Zone {
					if _, err := reader.Rescan(); err != nil {
						return nil
					}
					return reader.Zones()
				})
			}
		}
		if WantsHwmon(a.Config, program) {
			looks = append(looks, func() []energy.Zone { return hwmon.Look(a.Config.Host.Sysfs) })
		}
		look := time.NewTicker(ticksPerLook * a.Config.Interval)
		defer look.Stop()
		for {
			select {
			case <-look.C:
			case <-ctx.Done():
				return nil
			}
			for _, zones := range looks {
				if !a.unknown(zones()) {
					continue
				}
				select {
				case a.zonesChanged <- struct{}{}:
				default: // told, and nothing done about it yet
				}
			}
		}
	}})
}
