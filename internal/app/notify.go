package app

import (
	"context"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells the service manager that we are ready, when the first Snapshot is there, and with every Snapshot after it that
// we are alive (Type=notify and WatchdogSec= in systemd.service(5)). Without a service manager it tells nobody; with
// one that does not listen, metering goes on for as long as that one lets it.
func (a *App) notify(ctx context.Context) error {
	state := daemon.SdNotifyReady
	var seq uint64
	for s := a.Meter.Next(ctx, 0); s != nil; s = a.Meter.Next(ctx, seq) {
		seq = s.Seq
		told, err := daemon.SdNotify(false, state)
		if err != nil {
			a.Log.Error("the service manager cannot be told how we are", "error", err)
		}
		if !told {
			return nil
		}
		state = daemon.SdNotifyWatchdog
	}
	return nil
}
